package poolsvc

import (
	"golang.org/x/sync/errgroup"

	"charmer/workerproc"
)

// Usage is what a worker takes of the machine.
type Usage = workerproc.Usage

// usageParallelism is how many workers one request measures at a time. The kernel does the work, and holds locks of the
// measured process meanwhile.
const usageParallelism = 4

// Usages measures workers, by id; those that are starting or end meanwhile, and all where the system does not tell, are
// left out. It takes up to some milliseconds for each.
func (p *Pool) Usages(of []WorkerInfo) map[uint64]Usage {
	var workers []Worker
	p.mu.Lock()
	for _, info := range of {
		if m := p.memberLocked(info.ID); m != nil && m.worker != nil {
			workers = append(workers, m.worker)
		} else {
			workers = append(workers, nil)
		}
	}
	p.mu.Unlock()

	measured := make([]*Usage, len(of))
	var group errgroup.Group
	group.SetLimit(usageParallelism)
	for i, w := range workers {
		if w == nil {
			continue
		}
		group.Go(func() error { // ends before Usages returns
			if usage, err := w.Usage(); err == nil {
				measured[i] = &usage
			}
			return nil
		})
	}
	_ = group.Wait() // no error is returned

	out := make(map[uint64]Usage, len(of))
	for i, usage := range measured {
		if usage != nil {
			out[of[i].ID] = *usage
		}
	}
	return out
}

// Worker describes one worker. The error is ErrWorkerNotFound.
func (p *Pool) Worker(id uint64) (WorkerInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.memberLocked(id)
	if m == nil {
		return WorkerInfo{}, ErrWorkerNotFound
	}
	return m.infoLocked(), nil
}
