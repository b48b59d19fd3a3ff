# syntax=docker/dockerfile:1
# docker build -t medstrata .
# docker run --rm -v "$PWD:/data" medstrata prepare images --out images.store     (GPU: add --gpus all)
FROM python:3.12-slim

# Address of PyTorch's builds for another device (CPU alone, another CUDA); empty takes the registry
# that pip is set to, whose Linux builds bring CUDA along.
ARG TORCH_INDEX=
ARG EXTRAS=dicom,nifti,hdf5,onnx

RUN useradd --create-home --uid 1000 medstrata
WORKDIR /opt/medstrata
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
# hadolint ignore=DL3013
RUN python -m pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch>=2.10" "torchvision>=0.25" \
    && python -m pip install --no-cache-dir ".[${EXTRAS}]"

USER 1000
WORKDIR /data
HEALTHCHECK --interval=1h --timeout=2m CMD ["medstrata", "doctor"]
ENTRYPOINT ["medstrata"]
CMD ["--help"]
