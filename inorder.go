package main

// inOrder calls each with results in the order of their index, whatever the order they come in. It holds as many as
// the earliest missing one keeps back.
type inOrder[T any] struct {
	each  func(T)
	next  int              // index that is due
	early []inOrderSlot[T] // a ring: index i waits at i modulo its length, a power of two
}

type inOrderSlot[T any] struct {
	result T
	here   bool
}

// put takes the result of index i and passes on all that are due.
func (o *inOrder[T]) put(i int, result T) {
	if i != o.next {
		o.wait(i, result)
		return
	}
	o.each(result)
	o.next++
	for len(o.early) > 0 {
		slot := &o.early[o.next&(len(o.early)-1)]
		if !slot.here {
			return
		}
		due := slot.result
		*slot = inOrderSlot[T]{}
		o.each(due)
		o.next++
	}
}

// wait keeps a result until it is due.
func (o *inOrder[T]) wait(i int, result T) {
	if i-o.next >= len(o.early) {
		size := max(64, len(o.early))
		for i-o.next >= size {
			size *= 2
		}
		larger := make([]inOrderSlot[T], size)
		for k := range o.early {
			if at := o.next + k; o.early[at&(len(o.early)-1)].here {
				larger[at&(size-1)] = o.early[at&(len(o.early)-1)]
			}
		}
		o.early = larger
	}
	o.early[i&(len(o.early)-1)] = inOrderSlot[T]{result, true}
}
