"""Docstrings of the standard library's compiled modules, for which there is no source to parse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    ModuleType,
)

from undrift.demo.docstrings import Documented, Kind, LibraryDocument, cleaned

_MEMBERS = (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    classmethod,
    staticmethod,
)
# The compiled part of a module is named after it ("_csv"); these two are not.
_OTHER_NAMES = {"builtins": {"_io", "io"}, "os": {"nt", "posix"}}


def compiled_documents() -> Iterator[LibraryDocument]:
    """Yield what the standard library's compiled modules document.

    Imports a fixed list of modules, none of which does anything when it is imported.
    """
    seen = set()
    for module in [*_modules(), *_modules_of_some_builds()]:
        docstring = cleaned(module.__doc__)
        if docstring:
            yield Documented(kind="module", docstring=docstring).document(module.__name__)
        homes = {None, module.__name__, f"_{module.__name__}", *_OTHER_NAMES.get(module.__name__, ())}
        for name, value in sorted(vars(module).items()):
            if name.startswith("_") or not isinstance(value, type | BuiltinFunctionType | FunctionType):
                continue
            # The same object under another name (os.error, socket.timeout) is documented under its own.
            if value.__name__ == name and value.__module__ in homes and id(value) not in seen:
                seen.add(id(value))
                for documented in _described(name, value, "class" if isinstance(value, type) else "function"):
                    yield documented.document(module.__name__)


def _described(name: str, value: object, kind: Kind) -> Iterator[Documented]:
    docstring = cleaned(value.__doc__)
    if docstring:
        # A compiled object's signature still has the implicit first argument: "($self, /, x)".
        signature = re.sub(r"\$\w+(, /)?(, )?", "", getattr(value, "__text_signature__", None) or "")
        yield Documented(name=name, kind=kind, signature=signature, docstring=docstring)
    if isinstance(value, type):
        # socket.socket is a thin class around a compiled one of the same name, which has the documentation.
        parts = [part for part in value.__mro__ if part.__name__.lstrip("_") == value.__name__]
        members = {member: attribute for part in reversed(parts) for member, attribute in vars(part).items()}
        for member, attribute in sorted(members.items()):
            if not member.startswith("_") and isinstance(attribute, _MEMBERS):
                yield from _described(f"{name}.{member}", attribute, "method")


def _modules() -> list[ModuleType]:
    import array
    import atexit
    import binascii
    import builtins
    import cmath
    import codecs
    import collections
    import contextvars
    import csv
    import datetime
    import decimal
    import faulthandler
    import functools
    import gc
    import io
    import itertools
    import marshal
    import math
    import mmap
    import operator
    import os
    import pickle
    import queue
    import random
    import select
    import signal
    import socket
    import struct
    import sys
    import threading
    import time
    import tracemalloc
    import types
    import unicodedata
    import warnings
    import weakref

    # The built-in ones come first: what io or codecs repeat of them is documented once.
    return [
        builtins, array, atexit, binascii, cmath, codecs, collections, contextvars, csv, datetime, decimal,
        faulthandler, functools, gc, io, itertools, marshal, math, mmap, operator, os, pickle, queue, random, re,
        select, signal, socket, struct, sys, threading, time, tracemalloc, types, unicodedata, warnings, weakref,
    ]  # fmt: skip


def _modules_of_some_builds() -> Iterator[ModuleType]:
    """Import what is missing where Python was built without a C library or on another operating system."""
    with suppress(ImportError):
        import bz2
        import lzma
        import zlib

        yield from (bz2, lzma, zlib)
    with suppress(ImportError):
        import sqlite3

        yield sqlite3
    with suppress(ImportError):
        import ssl

        yield ssl
    with suppress(ImportError):
        import fcntl
        import grp
        import pwd
        import resource
        import syslog
        import termios

        yield from (fcntl, grp, pwd, resource, syslog, termios)
