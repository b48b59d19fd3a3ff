"""Defaults of the k-NN read-out, without an import so that settings may name them.

Source: Wu et al. 2018, arXiv:1805.01978, section 3.4 (temperature); 20 neighbours are ours.
"""

NEIGHBOURS = 20  # labelled images that vote
TEMPERATURE = 0.07  # a vote weighs exp(cosine / temperature)
