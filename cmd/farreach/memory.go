package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/farreach/farreach/cloudlink"
	"github.com/farreach/farreach/cmd/farreach/internal/settings"
	"github.com/farreach/farreach/device"
)

// memory is what a simulated device remembers beside its registration: what
// people set at /oic/con, and the cloud that they chose at CoAPCloudConf. It is a
// file beside that of the registration, for its owner only.
type memory struct {
	file string

	mu  sync.Mutex // guards doc
	doc memoryDoc
}

type memoryDoc struct {
	Version  int             `json:"version"`
	Settings device.Settings `json:"settings"`
	Cloud    *cloudDoc       `json:"cloud,omitempty"`
}

// cloudDoc is the choice of a cloud, in the words of CoAPCloudConf.
type cloudDoc struct {
	Server   string               `json:"cis"`
	Cloud    string               `json:"sid,omitempty"`
	Provider string               `json:"apn,omitempty"`
	Code     string               `json:"at,omitempty"` // until it is used up
	Others   []device.CloudServer `json:"servers,omitempty"`
}

// remember reads what the device with this registration remembers.
func remember(state cloudlink.FileState) (*memory, error) {
	m := &memory{file: strings.TrimSuffix(string(state), ".json") + ".settings.json", doc: memoryDoc{Version: 1}}
	info, err := os.Stat(m.file)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s may hold a code and can be read by others: chmod 600 it", m.file)
	}
	b, err := os.ReadFile(m.file)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &m.doc); err != nil {
		return nil, fmt.Errorf("%s: %w", m.file, err)
	}
	if m.doc.Version != 1 {
		return nil, fmt.Errorf("%s: version %d is not known here", m.file, m.doc.Version)
	}
	return m, nil
}

// settings is what people set.
func (m *memory) settings() device.Settings {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.doc.Settings
}

// keepSettings is device.Config.Keep.
func (m *memory) keepSettings(_ context.Context, s device.Settings) error {
	return m.change(func(doc *memoryDoc) { doc.Settings = s })
}

// cloud is the choice of a cloud; its Server is empty if there is none.
func (m *memory) cloud() device.Onboarding {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.doc.Cloud
	if c == nil {
		return device.Onboarding{}
	}
	return device.Onboarding{Server: c.Server, Cloud: c.Cloud, Provider: c.Provider, Code: device.Secret(c.Code), Others: c.Others}
}

// keepCloud is cloudlink.MembershipConfig.Keep.
func (m *memory) keepCloud(to device.Onboarding) error {
	return m.change(func(doc *memoryDoc) {
		doc.Cloud = nil
		if to.Server != "" {
			doc.Cloud = &cloudDoc{to.Server, to.Cloud, to.Provider, to.Code.Reveal(), to.Others}
		}
	})
}

// change writes the file anew before what is in it counts.
func (m *memory) change(how func(*memoryDoc)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.doc
	how(&next)
	b, err := json.MarshalIndent(next, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(m.file), 0o700); err != nil {
		return err
	}
	if err := settings.WriteFile(m.file, append(b, '\n')); err != nil {
		return err
	}
	m.doc = next
	return nil
}
