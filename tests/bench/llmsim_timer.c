/* SPDX-License-Identifier: Apache-2.0 */
/* llmsim's timers: a wheel of 32.8 us a slot, 1.07 s around, which 10,000 streams do not slow down. */
#include "llmsim.h"

enum { TICK_SHIFT = 15, N_SLOTS = 1 << 15 };
static sim_conn_t *wheel[N_SLOTS];
static uint64_t occupied[N_SLOTS / 64]; /* a bit may outlive its slot's last entry */
static uint64_t wheel_tick;

void sim_timers_init(uint64_t now)
{
    wheel_tick = now >> TICK_SHIFT;
}

void sim_timer_clear(sim_conn_t *conn)
{
    if (!conn->timer_link) {
        return;
    }
    *conn->timer_link = conn->timer_next;
    if (conn->timer_next) {
        conn->timer_next->timer_link = conn->timer_link;
    }
    conn->timer_link = NULL;
}

void sim_timer_set(sim_conn_t *conn, uint64_t due_ns)
{
    sim_timer_clear(conn);
    uint64_t tick = (due_ns + (1u << TICK_SHIFT) - 1) >> TICK_SHIFT;
    if (tick < wheel_tick) {
        tick = wheel_tick;
    } else if (tick > wheel_tick + N_SLOTS - 1) { /* beyond the wheel: look again then */
        tick = wheel_tick + N_SLOTS - 1;
    }
    unsigned slot = tick & (N_SLOTS - 1);
    conn->timer_ns = due_ns;
    conn->timer_next = wheel[slot];
    conn->timer_link = &wheel[slot];
    if (conn->timer_next) {
        conn->timer_next->timer_link = &conn->timer_next;
    }
    wheel[slot] = conn;
    occupied[slot / 64] |= 1ull << (slot % 64);
}

/* Ticks from wheel_tick to the next occupied slot, N_SLOTS if all are empty. */
static unsigned distance(void)
{
    unsigned start = wheel_tick & (N_SLOTS - 1);
    for (unsigned d = 0; d < N_SLOTS;) {
        unsigned slot = (start + d) & (N_SLOTS - 1);
        uint64_t word = occupied[slot / 64] >> (slot % 64);
        if (!word) {
            d += 64 - slot % 64;
            continue;
        }
        d += (unsigned)__builtin_ctzll(word);
        slot = (start + d) & (N_SLOTS - 1);
        if (wheel[slot]) {
            return d < N_SLOTS ? d : N_SLOTS;
        }
        occupied[slot / 64] &= ~(1ull << (slot % 64));
    }
    return N_SLOTS;
}

void sim_timers_run(uint64_t now)
{
    uint64_t end = now >> TICK_SHIFT;
    sim_conn_t *due = NULL, **tail = &due;
    for (unsigned d; (d = distance()) < N_SLOTS && wheel_tick + d <= end;) {
        wheel_tick += d;
        sim_conn_t **slot = &wheel[wheel_tick & (N_SLOTS - 1)];
        *tail = *slot;
        (*slot)->timer_link = tail;
        *slot = NULL;
        while (*tail) {
            tail = &(*tail)->timer_next;
        }
    }
    wheel_tick = end;
    while (due) {
        sim_conn_t *conn = due;
        sim_timer_clear(conn);
        if (conn->timer_ns > now) {
            sim_timer_set(conn, conn->timer_ns);
        } else {
            sim_stream_on_timer(conn, now);
        }
    }
}

uint64_t sim_timers_wait_ns(uint64_t now)
{
    unsigned d = distance();
    if (d == N_SLOTS) {
        return NS_PER_S;
    }
    uint64_t at = (wheel_tick + d) << TICK_SHIFT;
    return at > now ? at - now : 0;
}
