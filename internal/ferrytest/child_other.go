//go:build !linux

package ferrytest

import "syscall"

// Only Linux kills a child with its parent: elsewhere a crashed test can leave a kferry behind.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
