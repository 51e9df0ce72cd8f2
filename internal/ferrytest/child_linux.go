package ferrytest

import "syscall"

// childAttr has the kernel kill a kferry whose test died.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
