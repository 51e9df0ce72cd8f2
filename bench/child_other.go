//go:build !linux

package main

import "syscall"

// childAttr has nothing to say here: the bench measures on Linux only, but compiles elsewhere.
func childAttr() *syscall.SysProcAttr { return nil }
