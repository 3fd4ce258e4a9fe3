# make demo | test | soak | lint: each installs what it needs first.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Labs side by side: builds and boots wait more than they compute.
LABS ?= 3

.PHONY: demo test unit e2e soak lint lock docs bench clean

$(VENV)/.ready: .ci/requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement .ci/requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Ansible and what it is compared with: not libraries of ours, so not in our environment.
.make/%/.ready: .ci/%.lock
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --require-hashes --requirement $<
	@touch $@

ANSIBLE := .make/ansible/.ready .make/ansible-oldest/.ready

# The transport is tested against a real sshd on loopback.
/usr/sbin/sshd:
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends openssh-server openssh-client

demo: $(VENV)/.ready
	$(BIN)/python -m tests.lab.demo

test: lint unit e2e

unit: $(VENV)/.ready /usr/sbin/sshd
	$(BIN)/python -m pytest -m "not lab and not soak" -n 2

e2e: $(VENV)/.ready $(ANSIBLE)
	$(BIN)/python -m tests.lab prepare
	$(BIN)/python -m pytest -m "lab and not soak" -p no:randomly -n $(LABS) --dist loadfile

# What takes long: many random kills, many rounds. Not part of `make test`.
soak: $(VENV)/.ready
	$(BIN)/python -m tests.lab prepare
	$(BIN)/python -m pytest -m soak -p no:randomly

# Measures on hosts of its own and writes tests/bench/RESULTS.md; wants an idle machine.
bench: $(VENV)/.ready .make/ansible/.ready .make/pyinfra/.ready
	$(BIN)/python -m tests.lab prepare
	$(BIN)/python -m tests.bench

lint: $(VENV)/.ready .make/ansible/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd ansible && PATH="$(CURDIR)/.make/ansible/bin:$$PATH" ansible-lint --offline --strict --profile production .
	cd ansible && $(CURDIR)/.make/ansible/bin/yamllint --strict .

# Writes the files that are generated from the code; tests fail when they drift.
docs: $(VENV)/.ready
	$(BIN)/python -m tests.docs

LOCK := .make/lock/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
    --python-version 3.11

# Versions and hashes only: the registry's address comes from the machine's own pip configuration.
lock:
	$(PYTHON) -m venv .make/lock
	.make/lock/bin/pip install --quiet uv
	$(LOCK) --group dev --output-file .ci/requirements.lock pyproject.toml
	$(LOCK) --group ansible --output-file .ci/ansible.lock
	$(LOCK) --group ansible-oldest --output-file .ci/ansible-oldest.lock
	$(LOCK) --group pyinfra --output-file .ci/pyinfra.lock

clean:
	rm -rf $(VENV) .make dist build
