"""Memory that is freed and asked for again must not be faulted in again."""

import gc
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from oodbench.basics import memory

PROBE = """
import resource, torch
from oodbench.basics.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(8 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

loose = faults()
kept = keep_freed_memory()
faults()  # the first block after the change is new
print(int(kept), loose, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be told")
def test_freed_blocks_are_used_again():
    ran = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    kept, loose, tight = map(int, ran.stdout.split())
    assert kept == 1
    assert tight < loose / 20


@pytest.mark.skipif(not Path("/proc/meminfo").is_file(), reason="says what Linux says")
def test_available_memory_is_some_of_what_the_machine_has():
    found = memory.available()
    assert found is not None
    assert 0 < found < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize("begun", [False, True])
def test_the_collector_rests_while_a_process_begins_and_not_later(monkeypatch, begun):
    if begun:
        monkeypatch.setitem(sys.modules, "torch", torch)
    else:
        monkeypatch.delitem(sys.modules, "torch")
    before = gc.get_freeze_count()
    try:
        with pytest.raises(ImportError), memory.loading():
            assert gc.isenabled() == begun
            raise ImportError
        assert gc.isenabled()
        assert (gc.get_freeze_count() > before) == (not begun)
    finally:
        gc.unfreeze()
