//go:build !linux

package kafkatest

import "syscall"

// Only Linux kills a child with its parent: elsewhere a crashed test can leave
// a broker behind.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
