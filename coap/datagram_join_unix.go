//go:build unix

package coap

import (
	"errors"
	"syscall"
)

// isJoined reports whether err says that a group had been joined before.
func isJoined(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
