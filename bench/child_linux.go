package main

import "syscall"

// childAttr ends a contestant when the bench is killed.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
