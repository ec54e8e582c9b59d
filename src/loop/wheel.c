/* SPDX-License-Identifier: Apache-2.0 */
/* See wheel_priv.h. */
#include "loop/wheel_priv.h"

#include <assert.h>

#define DIGIT_BITS 6u
#define DIGIT_MASK (RL_WHEEL_SLOTS - 1)

void rl_timer_init(struct rl_timer *timer, void (*fire)(struct rl_timer *timer))
{
	assert(fire);
	*timer = (struct rl_timer){.fire = fire};
}

void rl_wheel_init(struct rl_wheel *wheel, uint64_t now_ms)
{
	*wheel = (struct rl_wheel){.base_ms = now_ms};
}

/* The first tick that begins strictly after `ms`: clocks round down, and no timer may be early. */
static uint64_t tick_after(const struct rl_wheel *wheel, uint64_t ms)
{
	return (ms - wheel->base_ms) / RL_TIMER_TICK_MS + 1;
}

static uint64_t tick_ms(const struct rl_wheel *wheel, uint64_t tick)
{
	return wheel->base_ms + tick * RL_TIMER_TICK_MS;
}

static unsigned digit(uint64_t tick, unsigned level)
{
	return (unsigned)(tick >> (level * DIGIT_BITS)) & DIGIT_MASK;
}

static unsigned level_of(const struct rl_wheel *wheel, uint64_t tick)
{
	uint64_t differ = tick ^ wheel->tick;
	unsigned level = differ ? (63u - (unsigned)__builtin_clzll(differ)) / DIGIT_BITS : 0;

	assert(tick >= wheel->tick && level < RL_WHEEL_LEVELS);
	return level;
}

static void link_at(struct rl_wheel *wheel, struct rl_timer *timer, uint64_t tick)
{
	unsigned level = level_of(wheel, tick), slot = digit(tick, level);
	struct rl_timer **head = &wheel->slots[level][slot];

	timer->slot_ms = tick_ms(wheel, tick);
	timer->prev = NULL;
	timer->next = *head;
	if (*head)
		(*head)->prev = timer;
	*head = timer;
	wheel->occupied[level] |= UINT64_C(1) << slot;
}

static void unlink_it(struct rl_wheel *wheel, struct rl_timer *timer)
{
	if (timer->next)
		timer->next->prev = timer->prev;
	if (timer->prev) {
		timer->prev->next = timer->next;
	} else {
		uint64_t tick = (timer->slot_ms - wheel->base_ms) / RL_TIMER_TICK_MS;
		unsigned level = level_of(wheel, tick), slot = digit(tick, level);

		assert(wheel->slots[level][slot] == timer);
		wheel->slots[level][slot] = timer->next;
		if (!timer->next)
			wheel->occupied[level] &= ~(UINT64_C(1) << slot);
	}
	timer->prev = timer->next = NULL;
}

/* The first occupied slot: where it begins, and its level. False if the wheel is empty. */
static bool next_slot(const struct rl_wheel *wheel, uint64_t *tick, unsigned *level)
{
	for (unsigned l = 0; l < RL_WHEEL_LEVELS; l++) {
		if (!wheel->occupied[l])
			continue;
		unsigned slot = (unsigned)__builtin_ctzll(wheel->occupied[l]), shift = l * DIGIT_BITS;
		uint64_t above = wheel->tick >> (shift + DIGIT_BITS) << DIGIT_BITS;

		*tick = (above | slot) << shift;
		*level = l;
		assert(*tick >= wheel->tick);
		return true;
	}
	return false;
}

/*
 * Moves the present on where nothing is due: no occupied slot begins up to now, so
 * all keep their level. Without it a new timer would be placed as seen from the
 * past, and wake the loop only to be placed again.
 */
static void catch_up(struct rl_wheel *wheel, uint64_t now_ms)
{
	uint64_t now = (now_ms - wheel->base_ms) / RL_TIMER_TICK_MS, tick;
	unsigned level;

	if (now > wheel->tick && !(next_slot(wheel, &tick, &level) && tick <= now))
		wheel->tick = now;
}

bool rl_wheel_start(struct rl_wheel *wheel, struct rl_loop *loop, struct rl_timer *timer, uint64_t now_ms,
		    uint64_t after_ms)
{
	assert(timer->fire);
	if (after_ms > RL_WHEEL_AHEAD_MAX_MS)
		after_ms = RL_WHEEL_AHEAD_MAX_MS;
	timer->deadline_ms = now_ms + after_ms;

	uint64_t tick = tick_after(wheel, timer->deadline_ms);

	if (timer->loop) {
		/* Later than where it stands: it is moved when its slot comes up. */
		if (tick_ms(wheel, tick) >= timer->slot_ms)
			return false;
		unlink_it(wheel, timer);
	} else {
		timer->loop = loop;
		wheel->n++;
	}
	if (!wheel->advancing)
		catch_up(wheel, now_ms);
	link_at(wheel, timer, tick);
	return true;
}

void rl_wheel_stop(struct rl_wheel *wheel, struct rl_timer *timer)
{
	assert(timer->loop && wheel->n > 0);
	unlink_it(wheel, timer);
	timer->loop = NULL;
	wheel->n--;
}

uint64_t rl_wheel_next_ms(const struct rl_wheel *wheel)
{
	uint64_t tick;
	unsigned level;

	return next_slot(wheel, &tick, &level) ? tick_ms(wheel, tick) : UINT64_MAX;
}

/* Spreads a slot whose time has begun over the levels below. */
static void cascade(struct rl_wheel *wheel, unsigned level)
{
	unsigned slot = digit(wheel->tick, level);
	struct rl_timer *next, *timer = wheel->slots[level][slot];

	wheel->slots[level][slot] = NULL;
	wheel->occupied[level] &= ~(UINT64_C(1) << slot);
	for (; timer; timer = next) {
		next = timer->next;
		link_at(wheel, timer, tick_after(wheel, timer->deadline_ms));
	}
}

/* Takes timers off the head one by one, since a callback may stop any of the others. */
static void fire_slot(struct rl_wheel *wheel)
{
	struct rl_timer **head = &wheel->slots[0][digit(wheel->tick, 0)];

	while (*head) {
		struct rl_timer *timer = *head;
		uint64_t tick = tick_after(wheel, timer->deadline_ms);

		unlink_it(wheel, timer);
		if (tick > wheel->tick) {
			link_at(wheel, timer, tick);
			continue;
		}
		timer->loop = NULL;
		wheel->n--;
		timer->fire(timer);
	}
}

void rl_wheel_advance(struct rl_wheel *wheel, uint64_t now_ms)
{
	uint64_t now = (now_ms - wheel->base_ms) / RL_TIMER_TICK_MS, tick;
	unsigned level;

	wheel->advancing = true;
	while (next_slot(wheel, &tick, &level) && tick <= now) {
		wheel->tick = tick;
		if (level > 0)
			cascade(wheel, level);
		else
			fire_slot(wheel);
	}
	wheel->advancing = false;
	catch_up(wheel, now_ms);
}
