package main

import (
	"time"

	"github.com/spf13/cobra"
)

// standingDoc is the line of device and proxy with --json: how a device stands
// outside, after each change.
type standingDoc struct {
	Schema  string    `json:"schema"`
	Time    time.Time `json:"time"`
	Device  string    `json:"di,omitempty"`
	Name    string    `json:"name"`
	By      string    `json:"by"` // "cloud", "xmpp" or "lan"
	There   bool      `json:"there"`
	At      string    `json:"at,omitempty"` // server, or address on the local network
	Account string    `json:"account,omitempty"`
	Why     string    `json:"why,omitempty"` // it is not there
}

// stands writes d with --json. What cannot be written has been said all the same.
func (a *app) stands(d standingDoc) {
	if a.json {
		d.Schema, d.Time = "farreach.standing/v1", time.Now().UTC()
		_ = a.screen().Doc(d)
	}
}

// doneDoc is the document of a command that has nothing else to show.
type doneDoc struct {
	Schema  string   `json:"schema"`
	Command string   `json:"command"` // "account rm"
	On      []string `json:"on"`      // its arguments
}

// silent makes cmd, which shows nothing, say with --json that it was done.
func (a *app) silent(cmd *cobra.Command) *cobra.Command {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := run(cmd, args); err != nil || !a.json {
			return err
		}
		return a.screen().Doc(doneDoc{"farreach.done/v1", commandName(cmd), args})
	}
	return cmd
}
