"""Defaults of the metrics, without an import so that settings may name them."""

# Of the k-NN read-out; the temperature is that of Wu et al. 2018, arXiv:1805.01978, section 3.4,
# 20 neighbours are ours.
NEIGHBOURS = 20  # labelled images that vote
TEMPERATURE = 0.07  # a vote weighs exp(cosine / temperature)

# Of intervals over patients.
RESAMPLES = 1000
LEVEL = 0.95  # share of the resamples inside an interval
