package pages

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestGiveBack: less of the program's file is resident afterwards, and the program
// goes on.
func TestGiveBack(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Linux alone tells")
	}
	before := ofFiles(t)
	if err := GiveBack(); err != nil {
		t.Fatal(err)
	}
	if after := ofFiles(t); after >= before {
		t.Errorf("%d KiB of files are resident, before %d", after, before)
	}
}

// TestCalm: memory is given back after the latest Stir, and not again at once.
func TestCalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Calm{After: 5 * time.Second, Every: time.Minute}
		given := func() time.Time {
			synctest.Wait()
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.last
		}
		begin := time.Now()
		for range 10 {
			c.Stir()
			time.Sleep(3 * time.Second)
		}
		if at := given(); !at.IsZero() {
			t.Errorf("given back after %v", at.Sub(begin))
		}
		time.Sleep(3 * time.Second)
		first := given()
		if took := first.Sub(begin); took != 32*time.Second {
			t.Errorf("given back after %v, the last stir was after 27 s", took)
		}
		c.Stir()
		time.Sleep(time.Hour)
		if took := given().Sub(first); took != time.Minute {
			t.Errorf("given back again after %v", took)
		}
		last := given()
		c.Stir()
		c.Stop()
		c.Stir()
		time.Sleep(time.Hour)
		if given() != last {
			t.Error("given back after the end")
		}
	})
}

// ofFiles is how much of files is resident, KiB.
func ofFiles(t *testing.T) int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
