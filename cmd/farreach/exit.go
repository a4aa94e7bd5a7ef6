package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/listen"
	"github.com/farreach/farreach/cmd/farreach/internal/screen"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/reach"
)

// exitCode is the exit status of the program. The numbers are a promise to
// scripts.
type exitCode int

const (
	exitDone        exitCode = 0
	exitFailed      exitCode = 1
	exitUsage       exitCode = 2
	exitConfig      exitCode = 3
	exitNotFound    exitCode = 4
	exitNotAllowed  exitCode = 5
	exitNoConnect   exitCode = 6
	exitTimeout     exitCode = 7
	exitOffline     exitCode = 8
	exitRefused     exitCode = 9  // the peer answered 4.xx
	exitPeerFailed  exitCode = 10 // the peer answered 5.xx
	exitChecks      exitCode = 11 // checks found problems
	exitInterrupted exitCode = 130
)

// failure is an error whose exit status is known where it happens.
type failure struct {
	code exitCode
	err  error
	try  string // what to do now; may be empty
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(code exitCode, try, format string, args ...any) error {
	return &failure{code: code, err: fmt.Errorf(format, args...), try: try}
}

// misuse is a command line that makes no sense.
func misuse(try, format string, args ...any) error { return fail(exitUsage, try, format, args...) }

// kinds are the exit statuses of what can go wrong on the way to a device.
var kinds = map[reach.Kind]exitCode{
	reach.Usage: exitUsage, reach.NotFound: exitNotFound, reach.Ambiguous: exitUsage, reach.NotAllowed: exitNotAllowed,
	reach.NoConnect: exitNoConnect, reach.Timeout: exitTimeout, reach.Offline: exitOffline,
	reach.Refused: exitRefused, reach.PeerFailed: exitPeerFailed,
}

// codeOf is the one place where an error becomes an exit status.
func codeOf(err error) exitCode {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.code
	}
	if _, ok := errors.AsType[*settings.Error](err); ok {
		return exitConfig
	}
	if _, ok := errors.AsType[*listen.TakenError](err); ok {
		return exitConfig
	}
	if p, ok := errors.AsType[*apiclient.Problem](err); ok {
		switch {
		case !p.Since.IsZero():
			return exitOffline
		case strings.HasPrefix(p.Code, "4"):
			return exitRefused
		case p.Code != "":
			return exitPeerFailed
		case p.Status == 504:
			return exitTimeout
		}
		return codeOfHTTP(p.Status)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return exitNotAllowed
	}
	switch {
	case errors.Is(err, settings.ErrNoProfile):
		return exitNotFound
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, apiclient.ErrNoConnect):
		return exitNoConnect
	}
	if code, ok := kinds[reach.KindOf(err)]; ok {
		return code
	}
	if errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err) {
		return exitTimeout
	}
	return exitFailed
}

func codeOfHTTP(status int) exitCode {
	switch {
	case status == 401 || status == 403:
		return exitNotAllowed
	case status == 404:
		return exitNotFound
	case status >= 500:
		return exitPeerFailed
	}
	return exitRefused
}

// hints say what to try when nothing better is known.
var hints = map[exitCode]string{
	exitNotFound:   "farreach devices",
	exitNotAllowed: "another --profile, or a new token",
	exitNoConnect:  "farreach up",
	exitTimeout:    "a longer --timeout",
	exitOffline:    "farreach devices",
}

// errorLine says on one line what was asked, what came back and what to try.
// What came back may have been written by a device or a server, so it is shown, not
// obeyed.
func errorLine(cmd *cobra.Command, code exitCode, err error) string {
	what := "farreach: "
	if cmd.HasParent() {
		what += commandName(cmd) + ": "
	}
	return what + oneLine(err) + tryOf(cmd, code, err)
}

// commandName is what a command is called after the name of the program.
func commandName(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), "farreach ")
}

// oneLine is an error in a form that no terminal obeys.
func oneLine(err error) string {
	return screen.Printable(strings.Join(strings.Fields(err.Error()), " "))
}

func tryOf(cmd *cobra.Command, code exitCode, err error) string {
	if hint := reach.HintOf(err); hint != "" {
		return "; " + screen.Printable(hint)
	}
	try := hints[code]
	if f, ok := errors.AsType[*failure](err); ok {
		try = f.try
	} else if _, ok := errors.AsType[*listen.TakenError](err); ok {
		try = "--port-offset auto"
	} else if errors.Is(err, settings.ErrNoProfile) {
		try = "farreach up, which writes one"
	} else if code == exitNotFound && cmd.HasParent() && slices.Contains([]string{"account", "login"}, cmd.Parent().Name()) {
		try = "farreach account ls"
	}
	if try == "" {
		return ""
	}
	return "; try: " + screen.Printable(try)
}
