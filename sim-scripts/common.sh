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
