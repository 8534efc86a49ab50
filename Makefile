# The commands of the project. `make help` lists them.

# One build folder for every clone on the machine: RocksDB is compiled once.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/rookery/target
BIN := $(CARGO_TARGET_DIR)/debug/rookery
export PATH := $(HOME)/.cargo/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help build demo serve test check reference package image simulate scale accounts torture upgrade bench scaling

help: ## List these commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

build: ## Compile the program (installs the C++ build's packages when missing)
	@.ci/install build
	cargo build --workspace

demo: build ## A real cluster, real mail in by SMTP and out by IMAP, a mailstore more, in plain lines
	@$(CARGO_TARGET_DIR)/debug/demo

serve: build ## A single node that stays up, with its data in ./rookery-data
	@$(BIN) playground --single --data rookery-data

check: ## Fast, read-only: format, lints, docs, licences, tidy
	@.ci/install build
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet
	cargo test -q --workspace --test tidy --test licences

test: check ## Everything: format, lints, unit, protocol, whole-cluster and real-client tests
	@.ci/install test
	cargo build --workspace
	cargo test --workspace --quiet --doc
	@.ci/tests

reference: build ## Write docs/reference anew, as the program says it
	@$(BIN) reference config > docs/reference/configuration.md
	@$(BIN) reference commands > docs/reference/commands.md

package: ## A Debian package of a release build; prints where it is
	@.ci/install build
	cargo build --release --workspace --bins
	@mkdir -p $(CARGO_TARGET_DIR)/debian
	@cli/debian/package release $(CARGO_TARGET_DIR)/debian

image: ## Build the container image with a docker daemon of its own, and run it as the chart does; as root, twenty minutes
	@tests/image/run

# The variables are options: KIND=replication (groups) or KIND=sessions (a whole cluster with clients) SEEDS=1-1000 TRACE=1
simulate: export SEEDS ?= 1-1000
simulate: KIND ?= replication sessions
simulate: ## Groups, and clusters with clients, on simulated machines: many seeds, each of which runs alike each time
	@.ci/install build
	cargo test -q --workspace --no-fail-fast $(foreach kind,$(KIND),--test $(TEST_OF_$(kind))) -- --exact what_is_promised_holds_in_every_run --nocapture

TEST_OF_replication := simulation
TEST_OF_sessions := sessions

scale: ## Plan a year of a cluster of 1,000 nodes and 100 million accounts; writes figures and a plot into docs
	@.ci/install build
	SCALE=full cargo test -q --release --workspace --test scale -- --exact a_year_of_a_cluster --nocapture

accounts: ## Fill a directory with 10 million accounts and measure it; ARGUMENTS="--accounts 1000000 --cold" are options
	@.ci/install build
	@loadtest/directory-scale $(ARGUMENTS)

# The variables are options: SEEDS=1-20 SECONDS_EACH=65 OPERATIONS= REPLICAS=1 MAILSTORES=3 NEMESES=kill,pause,… PAIRS=0.4 SIZE=large, and
# SCENARIO=scale-out for clients in a cluster that grows and shrinks, with times and rates
torture: ## Clients under kills, cuts, wrong clocks and bad disks, and an oracle; needs root
	@.ci/install build
	@.ci/install test
	@cargo build --workspace --bins $(PROFILE_OF_$(SCENARIO))
	@$(CARGO_TARGET_DIR)/$(if $(PROFILE_OF_$(SCENARIO)),release,debug)/torture

# Times are told of programs as they are released
PROFILE_OF_scale-out := --release

# The variables are options: FROM=<commit> is the build that the cluster runs at first, SEEDS=1-5
upgrade: ## Replace every process of a cluster under load by this build, from that of an earlier commit; needs root
	@.ci/install build
	@.ci/install test
	@older="$$(.ci/build-of "$(or $(FROM),HEAD)")" && cargo build --workspace --bins && \
	  OLDER="$$older" SCENARIO=upgrade $(CARGO_TARGET_DIR)/debug/torture

bench: ## Measure a release build beside Dovecot, in turn; prints both and writes the table into docs. ARGUMENTS="--only deliver" are options
	@.ci/install build
	@.ci/install bench
	@cargo build --release --workspace --bins
	@tests/bench/compare --document docs/performance.md $(ARGUMENTS)

scaling: ## What operations cost as mailbox, accounts, shards and connections grow; writes tables and a plot into docs. ARGUMENTS="--only mailbox" are options
	@.ci/install build
	@.ci/install bench
	@cargo build --release --workspace --bins
	@tests/bench/scaling --document docs/performance.md $(ARGUMENTS)
