package event

// Remembered is how many bytes of last states are in memory.
func Remembered(e *Events) int {
	e.lasts.mu.Lock()
	defer e.lasts.mu.Unlock()
	return e.lasts.bytes
}
