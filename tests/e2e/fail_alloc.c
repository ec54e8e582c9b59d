/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loaded before the C library into a program under test (LD_PRELOAD): makes one allocation of the process fail, or all
 * from one on, as the test asks in a page that both map. Counts what is allocated and not freed, so that leaks show.
 * The real allocator is reached by the names that glibc exports for this.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t each);
extern void *__libc_realloc(void *p, size_t n);
extern void *__libc_memalign(size_t align, size_t n);
extern void __libc_free(void *p);

/* Little-endian words; test_torture.py knows the order. */
struct page {
	_Atomic int64_t left;   /* allocations until the one that fails; 0: none fails */
	_Atomic int64_t repeat; /* how many fail then, in a row */
	_Atomic int64_t failed; /* how many have */
	_Atomic int64_t live;   /* blocks allocated and not freed */
};

static struct page *page;

__attribute__((constructor)) static void map_page(void)
{
	const char *path = getenv("RELAIS_FAIL_ALLOC");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at = fd >= 0 ? mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (fd >= 0)
		close(fd);
	page = at == MAP_FAILED ? NULL : at;
}

static int refused(void)
{
	if (!page || atomic_load(&page->left) <= 0)
		return 0;
	int64_t left = atomic_fetch_sub(&page->left, 1);

	if (left > 1)
		return 0;
	if (left < 1) { /* another thread was quicker */
		atomic_fetch_add(&page->left, 1);
		return 0;
	}
	if (atomic_fetch_sub(&page->repeat, 1) > 1)
		atomic_store(&page->left, 1);
	atomic_fetch_add(&page->failed, 1);
	errno = ENOMEM;
	return 1;
}

static void *counted(void *p)
{
	if (page && p)
		atomic_fetch_add(&page->live, 1);
	return p;
}

void *malloc(size_t n)
{
	return refused() ? NULL : counted(__libc_malloc(n));
}

void *calloc(size_t n, size_t each)
{
	return refused() ? NULL : counted(__libc_calloc(n, each));
}

void *realloc(void *p, size_t n)
{
	if (n && refused())
		return NULL;
	void *got = __libc_realloc(p, n);

	if (page && !p && got)
		atomic_fetch_add(&page->live, 1);
	if (page && p && !got && !n)
		atomic_fetch_sub(&page->live, 1);
	return got;
}

void *memalign(size_t align, size_t n)
{
	return refused() ? NULL : counted(__libc_memalign(align, n));
}

void *aligned_alloc(size_t align, size_t n)
{
	return memalign(align, n);
}

int posix_memalign(void **out, size_t align, size_t n)
{
	void *got = memalign(align, n);

	if (!got)
		return ENOMEM;
	*out = got;
	return 0;
}

void free(void *p)
{
	if (page && p)
		atomic_fetch_sub(&page->live, 1);
	__libc_free(p);
}
