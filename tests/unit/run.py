#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the commands of stdin, one a line, JOBS at a time: run.py JOBS [-v]. Prints a line for each, and the whole
output of failing ones; -v prints all output. Failed commands run once more, alone: the second result counts, and
the last lines name those that passed then. Exit status 1 if one failed."""
import concurrent.futures
import re
import subprocess
import sys


def run(command):
    done = subprocess.run(command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.decode(errors="replace")


def tell(command, status, said, verbose):
    tests = re.findall(r"\[  PASSED  \] (\d+) test", said)
    name = re.sub(r"\S*/", "", command)
    how = f"ends with {status}" if status else f"{tests[-1]} passed" if tests else "passed"
    print(f"{said if verbose or status else ''}  {'FAIL' if status else 'TEST':<8}{name}: {how}", flush=True)


def main():
    jobs, verbose, failed, unstable = int(sys.argv[1]), "-v" in sys.argv[2:], [], []
    commands = [line.strip() for line in sys.stdin if line.strip()]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        began = {pool.submit(run, command): command for command in commands}
        for future in concurrent.futures.as_completed(began):
            tell(began[future], *future.result(), verbose)
            if future.result()[0]:
                failed.append(began[future])
    for command in failed[:]:
        print(f"  AGAIN   {command}", flush=True)
        status, said = run(command)
        tell(command, status, said, verbose)
        if not status:
            failed.remove(command)
            unstable.append(command)
    for command in unstable:
        print(f"  UNSTABLE beside others: failed first, passed alone: {command}")
    print(f"  {len(commands)} programs, {len(failed)} failed")
    return 1 if failed or not commands else 0


if __name__ == "__main__":
    sys.exit(main())
