//go:build unix

package xmppservers

import "syscall"

// ownGroup has a server start in a process group of its own, so that its
// helpers end with it.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func terminate(pid int) { syscall.Kill(pid, syscall.SIGTERM) }

func kill(pid int) { syscall.Kill(-pid, syscall.SIGKILL) }
