package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/internal/archive"
	"github.com/farreach/farreach/internal/kept"
	"github.com/farreach/farreach/store"
)

// restoring is what backup restore is told.
type restoring struct {
	file, keys, data string
	nats             natsConfig
}

func (a *app) backupRestoreCmd() *cobra.Command {
	var r restoring
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a data directory of a backup",
		Long: `Makes a data directory, in which no server has been yet, of a backup and the keys
beside it. Start the server on it afterwards. With --nats, what is stored goes
into that NATS server, which must have nothing of farreach.`,
		Example: `  farreach backup restore farreach.backup --data /srv/farreach
  farreach up --data /srv/farreach`,
		Args: takes("the backup"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.file = args[0]
			return a.restore(cmd.Context(), r)
		},
	}
	cmd.Flags().StringVar(&r.data, "data", settings.DataDir(a.lookup), "data `directory` to make")
	cmd.Flags().StringVar(&r.keys, "keys", "", "`file` with the keys (default FILE.keys, if it is there)")
	r.nats.flags(cmd.Flags())
	return cmd
}

func (a *app) restore(ctx context.Context, r restoring) (err error) {
	doc, err := readBackup(r.file) // all of it, before anything is made
	if err != nil {
		return err
	}
	if r.keys == "" {
		r.keys = doc.Keys
	}
	if r.keys != "" {
		if err := eachPart(r.keys, func(part string, _ []byte) error { return keyPart(part) }); err != nil {
			return err
		}
	}
	b := &booted{cfg: serverConfig{data: r.data, nats: r.nats}, log: a.log(slog.LevelError)}
	if err := b.openData(); err != nil {
		return err
	}
	defer b.lock.release()
	for _, name := range []string{"store", "tls"} {
		if _, err := os.Stat(b.file(name)); err == nil {
			return fail(exitConfig, "a --data directory that is not there yet", "%s has a server already", r.data)
		}
	}
	if err := b.restoreStore(ctx, r.file); err != nil {
		return err
	}
	if r.keys == "" {
		a.say("farreach: warning: no keys: the server will make new ones, which its devices do not trust yet")
	} else if err := b.restoreKeys(r.keys); err != nil {
		return err
	}
	if a.json {
		return a.screen().Doc(doc)
	}
	return a.screen().Line("restored", r.data, fmt.Sprintf("%s; start it with: %s",
		doc.summary(), a.command("up", "--data", r.data)))
}

// restoreStore fills a new store. If that fails, there is none.
func (b *booted) restoreStore(ctx context.Context, file string) (err error) {
	cfg := store.Config{Sync: -1, Log: b.log}
	if err := b.cfg.nats.into(&cfg); err != nil {
		return err
	}
	if cfg.URL == "" {
		cfg.Dir = b.file("store")
		defer func() {
			if err != nil {
				err = errors.Join(err, os.RemoveAll(cfg.Dir))
			}
		}()
	}
	s, err := store.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	r := archive.NewReader(f)
	err = s.Restore(ctx, func() (store.Part, error) {
		name, data, err := r.Next()
		return store.Part{Name: name, Data: data}, err
	})
	if errors.Is(err, store.ErrExists) {
		return fail(exitConfig, "a NATS server without them", "%w", err)
	}
	return err
}

// restoreKeys writes the files of the data directory that are not of the store.
func (b *booted) restoreKeys(file string) error {
	return eachPart(file, func(part string, data []byte) error {
		if err := keyPart(part); err != nil {
			return err
		}
		name := b.file(filepath.FromSlash(part))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		if err := kept.Write(name, data, 0o600); err != nil {
			return err
		}
		if part == "tls/ca.pem" {
			return os.Chmod(name, 0o644) // as it is made
		}
		return nil
	})
}

// keyPart refuses what would be written elsewhere than keys are.
func keyPart(part string) error {
	for _, pattern := range keyFiles {
		if ok, err := filepath.Match(filepath.FromSlash(pattern), filepath.FromSlash(part)); err == nil && ok && fs.ValidPath(part) {
			return nil
		}
	}
	return fmt.Errorf("%w: %q is no key", archive.ErrBroken, part)
}
