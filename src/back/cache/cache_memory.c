/* SPDX-License-Identifier: Apache-2.0 */
/* Cached conversations in memory that the children of a server share. The memory consists of parts, each with a lock,
 * an index, and blocks of 1 KB. An entry is a chain of blocks, so entries of all sizes can use the same free blocks.
 * While a lock is held, bytes are copied and nothing else; a checksum verifies them afterwards. If a process was killed
 * while it held a part's lock, the part is cleared, which costs only time. */
#include "cache_backend.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define BLOCK_SIZE 1024
#define PART_SIZE (2 * 1024 * 1024) /* of blocks */
#define N_BLOCKS (PART_SIZE / BLOCK_SIZE)
#define N_SLOTS (N_BLOCKS / 2)
#define BLOCK_ROOM (BLOCK_SIZE - sizeof(uint32_t))
#define PATIENCE apr_time_from_msec(2) /* longer than any copy takes */

/* Positions of blocks and slots are stored + 1, so that 0 means none. */
typedef struct block_t {
    uint32_t next;
    char data[BLOCK_ROOM];
} block_t;

typedef struct slot_t {
    unsigned char key[AC_CACHE_KEY];
    apr_time_t expires;   /* ac_clock; 0: the slot is free */
    uint32_t first, last; /* blocks */
    uint32_t len;         /* bytes of all texts with their headers */
    uint32_t next;        /* next slot with the same hash, or the next free one */
    uint32_t used;        /* not 0: used since the hand passed. No bool: stray writes may leave any number */
} slot_t;

typedef struct part_t { /* all zeros: it is empty */
    pthread_mutex_t lock;
    uint32_t free_block, free_slot; /* that were freed; beyond these, all were never used: */
    uint32_t new_block, new_slot;
    uint32_t n_used, hand;   /* blocks in entries; the slot that the next eviction looks at */
    uint32_t broken;         /* the contents are not consistent */
    uint32_t index[N_SLOTS]; /* slots by hash */
    slot_t slots[N_SLOTS];
    block_t blocks[N_BLOCKS];
} part_t;

typedef struct text_head_t { /* precedes each text */
    uint64_t sum;
    uint32_t len, magic;
} text_head_t;
#define MAGIC UINT32_C(0x61635478)

struct ac_cache_memory_t {
    part_t *parts;
    uint32_t n_parts;
    apr_interval_time_t ttl;
};

static uint64_t sum_of(const char *text, size_t len)
{
    uint64_t sum = UINT64_C(0xcbf29ce484222325) ^ len, word;
    for (; len >= sizeof(word); text += sizeof(word), len -= sizeof(word)) {
        memcpy(&word, text, sizeof(word));
        sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        sum ^= sum >> 29;
    }
    word = 0;
    memcpy(&word, text, len);
    sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return sum ^ sum >> 32;
}

/* ---- a part; the caller holds its lock ---- */

/* Memory that was never used stays untouched, and costs nothing. */
static void make_empty(part_t *part)
{
    memset(part->index, 0, sizeof(part->index));
    for (uint32_t i = 0; i < N_SLOTS && i < part->new_slot; i++) {
        part->slots[i].expires = 0;
    }
    part->free_block = part->free_slot = part->new_block = part->new_slot = part->n_used = part->hand = part->broken =
        0;
}

/* All positions that are read from the memory are checked by these functions: a stray write must not lead outside of
 * it, or into a circle. */
static slot_t *slot_at(part_t *part, uint32_t place)
{
    part->broken |= place > N_SLOTS;
    return place && place <= N_SLOTS ? &part->slots[place - 1] : NULL;
}

static block_t *block_at(part_t *part, uint32_t place)
{
    part->broken |= place > N_BLOCKS;
    return place && place <= N_BLOCKS ? &part->blocks[place - 1] : NULL;
}

static uint32_t *chain_of(part_t *part, const unsigned char *key)
{
    uint32_t hash;
    memcpy(&hash, key + sizeof(hash), sizeof(hash));
    return &part->index[hash % N_SLOTS];
}

/* NULL: not found. */
static slot_t *cache_memory_find(part_t *part, const unsigned char *key)
{
    slot_t *slot = slot_at(part, *chain_of(part, key));
    for (uint32_t n = 0; slot && n < N_SLOTS; n++, slot = slot_at(part, slot->next)) {
        if (memcmp(slot->key, key, AC_CACHE_KEY) == 0) {
            return slot;
        }
    }
    return NULL;
}

static uint32_t blocks_for(size_t len)
{
    return (uint32_t)((len + BLOCK_ROOM - 1) / BLOCK_ROOM);
}

static void cache_memory_forget(part_t *part, slot_t *slot)
{
    uint32_t place = (uint32_t)(slot - part->slots) + 1, *at = chain_of(part, slot->key), n = blocks_for(slot->len);
    block_t *last = block_at(part, slot->last);
    while (*at != place) {
        slot_t *before = slot_at(part, *at);
        if (!before || n++ > N_SLOTS + N_BLOCKS) {
            part->broken = 1;
            return;
        }
        at = &before->next;
    }
    *at = slot->next;
    n = blocks_for(slot->len);
    if (last && n <= part->n_used) {
        last->next = part->free_block;
        part->free_block = slot->first;
        part->n_used -= n;
    } else {
        part->broken = 1;
    }
    slot->expires = 0;
    slot->next = part->free_slot;
    part->free_slot = place;
}

static bool has_slot(const part_t *part)
{
    return part->free_slot || part->new_slot < N_SLOTS;
}

/* Evicts entries that were not read since the last pass of the hand first. keep: is not evicted. */
static bool cache_memory_make_room(part_t *part, uint32_t n_blocks, const slot_t *keep)
{
    apr_time_t now = ac_clock();
    for (uint32_t n = 0; n < 2 * N_SLOTS && !part->broken && (N_BLOCKS - part->n_used < n_blocks || !has_slot(part));
         n++) {
        slot_t *slot = &part->slots[part->hand % N_SLOTS];
        part->hand = (part->hand + 1) % N_SLOTS;
        if (!slot->expires || slot == keep) {
            continue;
        }
        if (slot->used && slot->expires > now) {
            slot->used = 0;
        } else {
            cache_memory_forget(part, slot);
        }
    }
    return !part->broken && N_BLOCKS - part->n_used >= n_blocks && has_slot(part);
}

static slot_t *cache_memory_take_slot(part_t *part, const unsigned char *key)
{
    uint32_t place = part->free_slot ? part->free_slot : ++part->new_slot, *chain = chain_of(part, key);
    slot_t *slot = slot_at(part, place);
    if (!slot) {
        return NULL;
    }
    if (place == part->free_slot) {
        part->free_slot = slot->next;
    }
    memcpy(slot->key, key, AC_CACHE_KEY);
    slot->first = slot->last = slot->len = 0;
    slot->next = *chain;
    *chain = place;
    return slot;
}

static block_t *take_block(part_t *part, slot_t *slot)
{
    uint32_t place = part->free_block ? part->free_block : ++part->new_block;
    block_t *block = block_at(part, place), *last = block_at(part, slot->last);
    if (!block) {
        return NULL;
    }
    if (place == part->free_block) {
        part->free_block = block->next;
    }
    block->next = 0;
    if (last) {
        last->next = place;
    } else {
        slot->first = place;
    }
    slot->last = place;
    part->n_used++;
    return block;
}

/* The caller has made room. */
static void add_bytes(part_t *part, slot_t *slot, const char *bytes, size_t len)
{
    while (len) {
        size_t used = slot->len % BLOCK_ROOM, some = BLOCK_ROOM - used < len ? BLOCK_ROOM - used : len;
        block_t *block = used ? block_at(part, slot->last) : take_block(part, slot);
        if (!block) {
            part->broken = 1;
            return;
        }
        memcpy(block->data + used, bytes, some);
        slot->len += (uint32_t)some;
        bytes += some;
        len -= some;
    }
}

static void write_text(part_t *part, const ac_cache_write_t *write, const text_head_t *head, apr_time_t expires)
{
    slot_t *slot = cache_memory_find(part, write->key);
    size_t before = slot && write->way == AC_CACHE_ADD ? slot->len : 0, len = sizeof(*head) + write->len;
    if (slot && (write->way != AC_CACHE_ADD || before + len > AC_MAX_CACHED || slot->expires <= ac_clock())) {
        cache_memory_forget(part, slot);
        slot = NULL;
    }
    if (write->way == AC_CACHE_DROP || (write->way == AC_CACHE_ADD && !slot) || len > AC_MAX_CACHED) {
        return;
    }
    if (!cache_memory_make_room(part, blocks_for(before + len) - blocks_for(before), slot)) {
        if (slot) {
            cache_memory_forget(part, slot);
        }
        return;
    }
    slot = slot ? slot : cache_memory_take_slot(part, write->key);
    if (slot) {
        add_bytes(part, slot, (const char *)head, sizeof(*head));
        add_bytes(part, slot, write->text, write->len);
        slot->used = before > 0;
        slot->expires = expires;
    }
}

/* Copies an entry's bytes without interpreting them. */
static void copy_out(ac_buf_t *bytes, part_t *part, const unsigned char *key)
{
    slot_t *slot = cache_memory_find(part, key);
    if (slot && slot->expires <= ac_clock()) {
        cache_memory_forget(part, slot);
        slot = NULL;
    }
    if (!slot) {
        return;
    }
    slot->used = 1;
    size_t left = slot->len;
    for (block_t *block = block_at(part, slot->first); block && left && !bytes->failed;
         block = block_at(part, block->next)) {
        size_t some = left < BLOCK_ROOM ? left : BLOCK_ROOM;
        ac_buf_add(bytes, block->data, some);
        left -= some;
    }
}

/* ---- the table of functions ---- */

/* NULL: the lock was not acquired in time. */
static part_t *lock_part(const ac_cache_memory_t *memory, const unsigned char *key)
{
    uint32_t hash;
    memcpy(&hash, key, sizeof(hash));
    part_t *part = &memory->parts[hash % memory->n_parts];
    int status = ac_shared_lock_acquire(&part->lock, PATIENCE);
    if (status == EOWNERDEAD) {
        make_empty(part);
    }
    return status && status != EOWNERDEAD ? NULL : part;
}

static void unlock_part(part_t *part)
{
    if (part->broken) {
        make_empty(part);
    }
    ac_shared_lock_release(&part->lock);
}

static void cache_memory_write_entry(void *self, const ac_cache_write_t *write, ac_cache_written_fn *fn, void *baton)
{
    const ac_cache_memory_t *memory = self;
    text_head_t head = {sum_of(write->text, write->len), (uint32_t)write->len, MAGIC};
    part_t *part = lock_part(memory, write->key);
    if (part) {
        write_text(part, write, &head, ac_clock() + memory->ttl);
        unlock_part(part);
    }
    if (fn) {
        fn(baton);
    }
}

/* Removes the headers, and verifies each text's checksum. */
static bool unpack(ac_buf_t *texts, const ac_buf_t *bytes)
{
    text_head_t head;
    for (size_t at = 0; at < bytes->len; at += sizeof(head) + head.len) {
        if (bytes->len - at < sizeof(head)) {
            return false;
        }
        memcpy(&head, bytes->data + at, sizeof(head));
        const char *text = bytes->data + at + sizeof(head);
        if (head.magic != MAGIC || head.len > bytes->len - at - sizeof(head) || sum_of(text, head.len) != head.sum) {
            return false;
        }
        ac_buf_add(texts, text, head.len);
        ac_buf_add(texts, "", 1);
    }
    return !texts->failed;
}

static void cache_memory_read_entry(void *self, const unsigned char key[AC_CACHE_KEY], ac_cache_read_fn *fn,
                                    void *baton)
{
    const ac_cache_memory_t *memory = self;
    part_t *part = lock_part(memory, key);
    ac_buf_t bytes, texts;
    ac_buf_init(&bytes, AC_MAX_CACHED);
    ac_buf_init(&texts, AC_MAX_CACHED);
    if (part) {
        copy_out(&bytes, part, key);
        unlock_part(part);
    }
    if (!unpack(&texts, &bytes)) {
        ac_cache_write_t drop = {.way = AC_CACHE_DROP, .text = ""};
        memcpy(drop.key, key, AC_CACHE_KEY);
        cache_memory_write_entry(self, &drop, NULL, NULL);
        ac_buf_clear(&texts);
    }
    fn(baton, &texts);
    ac_buf_free(&bytes);
    ac_buf_free(&texts);
}

const ac_cache_vt ac_cache_memory = {"memory", cache_memory_read_entry, cache_memory_write_entry};

/* ---- the memory ---- */

apr_status_t ac_cache_memory_create(ac_cache_memory_t **pmemory, apr_int64_t size, apr_interval_time_t ttl,
                                    ac_err_t *err)
{
    ac_cache_memory_t *memory = ac_alloc(sizeof(*memory));
    int status = 0;
    *pmemory = memory;
    memory->ttl = ttl;
    memory->n_parts = (uint32_t)(size / PART_SIZE ? size / PART_SIZE : 1);
    memory->parts =
        mmap(NULL, memory->n_parts * sizeof(part_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory->parts == MAP_FAILED) {
        status = errno;
        memory->parts = NULL;
    }
    for (uint32_t i = 0; i < memory->n_parts && !status; i++) {
        status = ac_shared_lock_init(&memory->parts[i].lock);
    }
    if (status) {
        ac_cache_memory_destroy(memory);
        *pmemory = NULL;
        err->status = status;
        return ac_err_set(err, AC_INTERNAL, "the memory cannot be had");
    }
    return APR_SUCCESS;
}

void ac_cache_memory_destroy(ac_cache_memory_t *memory)
{
    if (memory && memory->parts) {
        munmap(memory->parts, memory->n_parts * sizeof(part_t));
    }
    free(memory);
}
