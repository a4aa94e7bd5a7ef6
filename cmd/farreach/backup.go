package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
	"github.com/farreach/farreach/cmd/farreach/internal/screen"
	"github.com/farreach/farreach/internal/archive"
	"github.com/farreach/farreach/internal/kept"
)

func (a *app) backupCmd() *cobra.Command {
	return a.parent(&cobra.Command{
		Use:   "backup",
		Short: "Save everything that a running server stores, and bring it back",
		Long: `A backup is two files. FILE has what is stored: accounts, devices, events; nobody
can log in with what is in it. FILE.keys has the keys and tokens of the data
directory: without them devices would not trust the server that comes back, and
with them anybody can pose as it. Keep the two apart.`,
		Example: `  farreach backup create farreach.backup
  farreach backup restore farreach.backup --data /srv/farreach`,
		GroupID: groupOperate,
	}, a.backupCreateCmd(), a.backupVerifyCmd(), a.backupRestoreCmd())
}

// keysOf is the name of the file that goes with a backup.
func keysOf(name string) string { return name + ".keys" }

// backupDoc says what is in a backup.
type backupDoc struct {
	Schema  string         `json:"schema"`
	File    string         `json:"file"`
	Keys    string         `json:"keys,omitempty"`
	Bytes   int64          `json:"bytes"`
	Events  uint64         `json:"events"`
	Records uint64         `json:"records"` // of all tables, with the marks of what was removed lately
	Streams []backupStream `json:"streams"`
}

func (d backupDoc) summary() string {
	return fmt.Sprintf("%d events, %d records in tables, %d bytes, whole", d.Events, d.Records, d.Bytes)
}

// backupStream is a table or log in a backup.
type backupStream struct {
	Name    string `json:"name"`
	Records uint64 `json:"records"`
}

func (a *app) backupCreateCmd() *cobra.Command {
	var x access
	var data string
	var yes bool
	cmd := &cobra.Command{
		Use:   "create [FILE]",
		Short: "Save what a running server stores",
		Long: `Saves what the server of the profile stores, while it runs. All tables are of one
moment; events go on to the end. The keys are read from the data directory, if
that is on this machine. A file that is there is replaced only by who says yes.`,
		Example: "  farreach backup create /backup/farreach-$(date +%F).backup",
		Args:    takes("a file..."),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := "farreach-" + time.Now().Format("20060102-150405") + ".backup"
			if len(args) > 1 {
				return misuse(cmd.CommandPath()+" --help", "%q is too much", args[1])
			}
			if len(args) == 1 {
				name = args[0]
			}
			if old := backupAt(name); old != "" && !yes && !a.confirm("replace "+screen.Printable(old)+"?") {
				return misuse("farreach backup create "+shellWord(name)+" --yes, or another file", "%s is there already, and nobody said yes", old)
			}
			return a.createBackup(cmd.Context(), x, data, name)
		},
	}
	x.flags(cmd)
	cmd.Flags().StringVar(&data, "data", "", "data `directory` of the server, for the keys (default that of the profile)")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask whether a file is to be replaced")
	return cmd
}

// backupAt is a file of the backup called name that is there already, or "".
func backupAt(name string) string {
	for _, file := range []string{name, keysOf(name)} {
		if _, err := os.Lstat(file); err == nil {
			return file
		}
	}
	return ""
}

func (a *app) createBackup(ctx context.Context, x access, data, name string) error {
	server, err := a.server()
	if err != nil {
		return err
	}
	api, err := a.api(x)
	if err != nil {
		return err
	}
	defer api.Close()
	if data == "" && server.CAFile != "" {
		data = filepath.Dir(filepath.Dir(server.CAFile))
	}
	keys, err := packKeys(data)
	if err != nil {
		return fail(exitConfig, "the user who runs the server", "keys: %w", err)
	}
	if err := kept.Replace(name, func(w io.Writer) error { return fetchBackup(ctx, api, w) }); err != nil {
		return fmt.Errorf("backup %s: %w", name, err)
	}
	if keys == nil {
		a.say("farreach: warning: no keys: %s is not the data directory of this server", cmp.Or(data, "this machine"))
	} else if err := kept.Write(keysOf(name), keys, 0o600); err != nil {
		return err
	}
	return a.describeBackup(name)
}

// fetchBackup copies a backup, and fails unless it is whole.
func fetchBackup(ctx context.Context, api *apiclient.Client, w io.Writer) error {
	return api.Backup(ctx, func(r io.Reader) error {
		in, out := archive.NewReader(r), archive.NewWriter(w)
		for {
			name, data, err := in.Next()
			if errors.Is(err, io.EOF) {
				return out.Close()
			}
			if err == nil {
				err = out.Add(name, data)
			}
			if err != nil {
				return err
			}
		}
	})
}

// keyFiles are what of a data directory is neither in the store nor made anew.
var keyFiles = []string{"tls/*.pem", "token", "password", commandsLogin, "port-offset", "demo/*.json", "demo/*.password"}

// packKeys makes an archive of the keys in a data directory; nil if it is none.
func packKeys(data string) ([]byte, error) {
	if _, err := os.Stat(filepath.Join(data, "tls", "ca.pem")); data == "" || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var b bytes.Buffer
	w := archive.NewWriter(&b)
	for _, pattern := range keyFiles {
		names, err := filepath.Glob(filepath.Join(data, filepath.FromSlash(pattern)))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			rel, err := filepath.Rel(data, name)
			if err != nil {
				return nil, err
			}
			if err := w.Add(filepath.ToSlash(rel), text); err != nil {
				return nil, err
			}
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (a *app) backupVerifyCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "verify FILE",
		Short:   "Check that a backup is whole, and say what is in it",
		Example: "  farreach backup verify farreach.backup",
		Args:    takes("the backup"),
		RunE:    func(_ *cobra.Command, args []string) error { return a.describeBackup(args[0]) },
	}
}

// describeBackup reads a backup to its end.
func (a *app) describeBackup(name string) error {
	doc, err := readBackup(name)
	if err != nil {
		return err
	}
	if a.json {
		return a.screen().Doc(doc)
	}
	rows := [][]any{{"backup", doc.File, doc.summary()}}
	if doc.Keys != "" {
		rows = append(rows, []any{"keys", doc.Keys, "keep this one apart, and secret"})
	}
	for _, row := range rows {
		if err := a.screen().Line(row...); err != nil {
			return err
		}
	}
	return nil
}

func readBackup(name string) (doc backupDoc, err error) {
	doc = backupDoc{Schema: "farreach.backup/v1", File: name, Streams: []backupStream{}}
	err = eachPart(name, func(part string, data []byte) error {
		stream, kind, _ := strings.Cut(part, "/")
		if kind != "stream.json" {
			return nil
		}
		var head struct {
			State struct {
				Messages uint64 `json:"messages"`
			} `json:"state"`
		}
		if err := json.Unmarshal(data, &head); err != nil {
			return fmt.Errorf("%w: %s: %w", archive.ErrBroken, part, err)
		}
		doc.Streams = append(doc.Streams, backupStream{stream, head.State.Messages})
		switch {
		case stream == "farreach-event":
			doc.Events = head.State.Messages
		case strings.HasPrefix(stream, "KV_"):
			doc.Records += head.State.Messages
		}
		return nil
	})
	if err != nil {
		return doc, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return doc, err
	}
	doc.Bytes = info.Size()
	if _, err := os.Stat(keysOf(name)); err == nil {
		doc.Keys = keysOf(name)
	}
	return doc, nil
}

// eachPart calls each for every part of an archive, which must be whole.
func eachPart(name string, each func(part string, data []byte) error) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fail(exitNotFound, "", "%w", err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for r := archive.NewReader(f); ; {
		part, data, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = each(part, data)
		}
		if errors.Is(err, archive.ErrBroken) {
			return fail(exitChecks, "another backup", "%s: %w", name, err)
		}
		if err != nil {
			return err
		}
	}
}
