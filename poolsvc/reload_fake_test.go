package poolsvc

import "slices"

// retire is a Config.Retire.
func (f *factory) retire(generation int) {
	f.mu.Lock()
	again := slices.Contains(f.retired, generation)
	f.retired = append(f.retired, generation)
	f.mu.Unlock()
	if again {
		f.violate("generation %d was retired again", generation)
	}
}

// retiredGenerations returns those that Retire was called for, in that order.
func (f *factory) retiredGenerations() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.retired)
}

// names lists the commands that w offers.
func (w *fakeWorker) names() []string {
	if w.f.offers == nil {
		return commandNames
	}
	return append(slices.Clone(commandNames), w.f.offers(w.generation)...)
}

// changing is an app whose first generation has the command before, and later ones after.
func changing() *factory {
	f := newFactory()
	f.offers = func(generation int) []string {
		if generation == 1 {
			return []string{"before"}
		}
		return []string{"after"}
	}
	return f
}
