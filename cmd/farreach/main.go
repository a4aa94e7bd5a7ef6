// Command farreach reaches and automates OIC devices from anywhere.
//
// Each subcommand is one file, which says what it takes and hands it on:
//
//	up, cloud ──▶ boot ──▶ serve        a server: store, cloud, cloudlink, api
//	device    ──▶ cloudlink.Client      a device that dials out to one
//	          └─▶ rae.Provisioning      … to an XMPP server
//	get … observe, ra ──▶ reach         a person who asks a device
//	devices, events, pair, account, status, backup ──▶ internal/apiclient ──▶ the server's HTTP API
//
// Data goes to standard output, talk to standard error. An error is one line
// and an exit status; exit.go is the one place where it gets both.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

// version is set by the linker.
var version string

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)() // a second Ctrl-C ends the program at once
	a := &app{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		terminal: term.IsTerminal(int(os.Stdout.Fd())),
		width:    terminalWidth(),
		lookup:   os.LookupEnv,
		self:     os.Args[0],
	}
	return a.main(ctx, os.Args[1:])
}

func terminalWidth() int {
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// app is one run of the program: what surrounds it, and the flags that all
// commands share.
type app struct {
	in       io.Reader
	out, err io.Writer
	terminal bool // out is read by a person
	width    int  // of the terminal, in characters; 0: none
	lookup   func(string) (string, bool)
	self     string // how the program was called

	json, verbose bool
	profile       string
	profileDir    string
	config        configFile // of a server
	warned        bool       // that nobody checks whom we talk to
}

func (a *app) main(ctx context.Context, args []string) int {
	root := a.rootCmd()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return int(exitDone)
	}
	code := codeOf(err)
	if code != exitInterrupted {
		fmt.Fprintln(a.err, errorLine(cmd, code, err))
	}
	return int(code)
}
