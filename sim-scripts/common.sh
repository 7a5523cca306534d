# SPDX-License-Identifier: Apache-2.0
# Shared by the scripts of this folder: where things are, how progress and errors look.
# shellcheck shell=bash

repo=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
work=$repo/.cosim
tools=$work/tools
guest=$work/guest
started=${COSIM_STARTED:-$EPOCHREALTIME}
# Everything here is in one language; without this .NET would want the ICU libraries.
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1
export COSIM_STARTED=$started DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1

# Prints one line of progress with the seconds since the outermost script began.
say() {
    local ms=$(((${EPOCHREALTIME//[!0-9]/} - ${started//[!0-9]/}) / 1000))
    printf '[%3d.%d s] %s\n' $((ms / 1000)) $((ms % 1000 / 100)) "$*"
}

# Ends the script with a one-paragraph error.
fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# at_least HAVE NEED: true where version HAVE is NEED or newer.
at_least() {
    [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

# first_build OUTPUT: the option of the build that makes OUTPUT for the first time. Analyzers are half of a build's time, and
# whoever runs the project once has no use for them; `test` has them, and so has every build after a change.
first_build() {
    [[ -e $1 ]] || echo -p:RunAnalyzers=false
}

# Publishes host 2's program, native code since its guest has no .NET, unless what is there is newer than its sources.
publish_back_end() {
    local to=$work/build/backend log=$work/build/backend.log
    if [[ -e $to/cosim-backend && ! $(find "$repo/src/Cosim.Backend" "$repo/src/Cosim.Virtio" "$repo/src/Cosim.VfioUser" "$repo"/Directory.*.props \
        -newer "$to/cosim-backend" -type f -not -path '*/bin/*' -not -path '*/obj/*' -print -quit) ]]; then
        return
    fi
    say "building host 2's program"
    mkdir -p "$work/build"
    rm -rf "$to.partial"
    # shellcheck disable=SC2046
    if ! dotnet publish "$repo/src/Cosim.Backend" -c Release --verbosity quiet -o "$to.partial" $(first_build "$to") >"$log" 2>&1; then
        fail "host 2's program does not build: $(grep -m 3 -E 'error' "$log" | tr '\n' ' ')The whole output is in $log."
    fi
    # Publishing keeps the times of files that it copies.
    touch "$to.partial/cosim-backend"
    rm -rf "$to"
    mv "$to.partial" "$to"
}

# hdl_regression COMMAND ARGUMENTS: runs tests/Cosim.Regression on the benches and on recordings of what the tests of
# the FPGA's boundary and the generator drive; exact, so they are made anew for the HDL as it is now.
hdl_regression() {
    local log=$work/build/regression.log recordings=$work/recordings project seed
    mkdir -p "$work/build"
    rm -rf "$recordings"
    mkdir -p "$recordings"
    say "building"
    for project in Cosim.Regression Cosim.Fpga.Tests; do
        dotnet build "$repo/tests/$project" -c Release --verbosity quiet >"$log" 2>&1 ||
            fail "$project does not build: $(grep -m 3 -E 'error' "$log" | tr '\n' ' ')The whole output is in $log."
    done
    say "recording"
    COSIM_RECORD_TESTS=$recordings dotnet test "$repo/tests/Cosim.Fpga.Tests" -c Release --no-build -- \
        NUnit.Where="test =~ 'Tests[(]Verilator[)]' or test =~ 'GeometryTests[(]Ghdl' or test =~ '(DifferentialTests[(]Verilator|DmaStressTests[(]Verilator,30).*[(]1[)]'" >"$log" 2>&1 ||
        fail "a test fails: $(grep -m 3 -A 2 '^ *Failed ' "$log" | tr '\n' ' ')The whole output is in $log."
    for seed in 1 2; do
        "$repo/sim-scripts/cosim" stimuli generate --seed $seed --illegal -o "$recordings/generated-$seed.stim" >"$log" 2>&1 ||
            fail "the generator fails: $(tail -n 1 "$log") The whole output is in $log."
    done
    say "$1"
    nice -n 10 dotnet "$repo/tests/Cosim.Regression/bin/Release/net10.0/Cosim.Regression.dll" "$@" --recordings "$recordings"
}

# run_lifecycle COMMAND ARGUMENTS: runs tests/Cosim.Lifecycle.
run_lifecycle() {
    local log=$work/build/lifecycle.log
    mkdir -p "$work/build"
    say "building"
    dotnet build "$repo/tests/Cosim.Lifecycle" -c Release --verbosity quiet >"$log" 2>&1 ||
        fail "tests/Cosim.Lifecycle does not build: $(grep -m 3 -E 'error' "$log" | tr '\n' ' ')The whole output is in $log."
    exec dotnet "$repo/tests/Cosim.Lifecycle/bin/Release/net10.0/Cosim.Lifecycle.dll" "$@"
}
