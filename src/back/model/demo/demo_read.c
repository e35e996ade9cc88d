/* SPDX-License-Identifier: Apache-2.0 */
/* The demonstration model: places, sums, symbols and topics found in a sentence by plain rules. */
#include "model_demo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_lib.h>

/* ---- words ---- */

static bool is_word_char(char c)
{
    return apr_isalnum(c) || (unsigned char)c >= 0x80;
}

/* The rest of `at` behind this one of words, or NULL. */
static const char *match(const char *at, const char *words)
{
    while (*words) {
        size_t len = strcspn(words, "|");
        if (!strncasecmp(at, words, len)) {
            return at + len;
        }
        words += len + (words[len] == '|');
    }
    return NULL;
}

const char *demo_find(const char *text, const char *words)
{
    for (const char *at = text; *at; at++) {
        const char *rest = at == text || !is_word_char(at[-1]) ? match(at, words) : NULL;
        if (rest) {
            return rest;
        }
    }
    return NULL;
}

/* The same for whole words only. */
static const char *match_whole(const char *at, const char *words)
{
    while (*words) {
        size_t len = strcspn(words, "|");
        if (!strncasecmp(at, words, len) && !is_word_char(at[len])) {
            return at + len;
        }
        words += len + (words[len] == '|');
    }
    return NULL;
}

static const char *find_whole(const char *text, const char *words)
{
    for (const char *at = text; *at; at++) {
        const char *rest = at == text || !is_word_char(at[-1]) ? match_whole(at, words) : NULL;
        if (rest) {
            return rest;
        }
    }
    return NULL;
}

/* ---- places ---- */

#define NO_PLACE \
    "and|or|today|tomorrow|tonight|now|right|please|this|next|on|what|whats|how|with|like|is|are|do|does|" \
    "should|will|at|in|for|then|also|the|my|me|celsius|fahrenheit|degrees|general|it|i|also|but"

static const char *demo_read_skip_blanks(const char *at)
{
    return at + strspn(at, " \t");
}

static size_t word_len(const char *at)
{
    size_t len = 0;
    while (is_word_char(at[len]) || ((at[len] == '-' || at[len] == '\'') && len && is_word_char(at[len + 1]))) {
        len++;
    }
    return len;
}

/* The words of a name at `at`, up to one that no name has. Where it ends. */
static const char *name_end(const char *at)
{
    const char *end = at;
    while (at[0]) {
        size_t len = match_whole(at, NO_PLACE) ? 0 : word_len(at);
        if (!len) {
            break;
        }
        end = at + len;
        if (len == 2 && *end == '.') { /* St. Louis */
            end++;
        }
        at = demo_read_skip_blanks(end);
        const char *region = *at == ',' ? demo_read_skip_blanks(at + 1) : at;
        if (region != at && apr_isupper(*region)) {
            at = region; /* Paris, Texas */
        }
    }
    return end;
}

static int add_place(ac_buf_t *places, const char *from, const char *end)
{
    if (end == from) {
        return 0;
    }
    ac_buf_add(places, from, (size_t)(end - from));
    ac_buf_add(places, "", 1);
    return 1;
}

/* "Paris and Rome" at `at`. */
static int read_names(ac_buf_t *places, const char *at, int max)
{
    int n = 0;
    while (n < max) {
        const char *end = name_end(at);
        if (!add_place(places, at, end)) {
            break;
        }
        n++;
        const char *next = match_whole(demo_read_skip_blanks(end), "and|or");
        if (!next || !apr_isupper(*demo_read_skip_blanks(next))) {
            break;
        }
        at = demo_read_skip_blanks(next);
    }
    return n;
}

/* "Tokyo weather", "Tokyo's weather" */
static int read_name_before(ac_buf_t *places, const char *text)
{
    const char *end = demo_find(text, "weather|forecast|temperature");
    const char *at = end;
    while (at && at > text && at[-1] != ' ') {
        at--;
    }
    while (at && at > text && at[-1] == ' ') {
        at--;
    }
    end = at;
    while (at && at > text && at[-1] != ' ') {
        at--;
    }
    if (!at || !apr_isupper(*at) || match_whole(at, NO_PLACE "|what's|how's|a|current|any|tell|show|give|check")) {
        return 0;
    }
    if (end - at > 2 && end[-1] == 's' && end[-2] == '\'') {
        end -= 2;
    }
    return add_place(places, at, end);
}

int demo_read_places(ac_buf_t *places, const char *text, int max)
{
    static const char *const prepositions[] = {"in", "at|near|around", "for|of|to", NULL};
    for (int i = 0; prepositions[i]; i++) {
        const char *at = text;
        while ((at = find_whole(at, prepositions[i]))) {
            const char *name = demo_read_skip_blanks(at);
            name = match_whole(name, "the") ? demo_read_skip_blanks(name + 3) : name;
            int n = read_names(places, name, max);
            if (n) {
                return n;
            }
        }
    }
    return read_name_before(places, text);
}

/* ---- arithmetic ---- */

typedef struct sum_t {
    ac_buf_t text;
    int n_numbers, n_operators, n_spaced, n_functions, depth;
    bool after_number;
} sum_t;

static void sum_clear(sum_t *sum)
{
    ac_buf_clear(&sum->text);
    sum->n_numbers = sum->n_operators = sum->n_spaced = sum->n_functions = sum->depth = 0;
    sum->after_number = false;
}

/* Skips a currency sign. */
static const char *skip_sign(const char *at)
{
    static const char *const signs[] = {"$", "\u20ac", "\u00a3", "\u00a5", NULL};
    for (int i = 0; signs[i]; i++) {
        if (!strncmp(at, signs[i], strlen(signs[i]))) {
            return demo_read_skip_blanks(at + strlen(signs[i]));
        }
    }
    return at;
}

/* Reads a number at `at`, without the commas between its thousands; where it ends, or NULL. */
static const char *demo_read_number(ac_buf_t *out, const char *at)
{
    if (!apr_isdigit(*at) && !(*at == '.' && apr_isdigit(at[1]))) {
        return NULL;
    }
    bool point = false;
    if (*at == '.') {
        ac_buf_add(out, "0", 1);
    }
    for (;; at++) {
        bool thousands = *at == ',' && !point && apr_isdigit(at[1]) && apr_isdigit(at[2]) && apr_isdigit(at[3]) &&
            !apr_isdigit(at[4]);
        if (apr_isdigit(*at) || (*at == '.' && !point && apr_isdigit(at[1]))) {
            point = point || *at == '.';
            ac_buf_add(out, at, 1);
        } else if (!thousands) {
            return at;
        }
    }
}

/* "18% tip on 75": the share as a factor. */
static bool read_share(ac_buf_t *expression, const char *text)
{
    bool found = false;
    ac_buf_t percent, base;
    ac_buf_init(&percent, 64);
    ac_buf_init(&base, 64);
    for (const char *at = text; *at && !found; at++) {
        ac_buf_clear(&percent);
        ac_buf_clear(&base);
        const char *end = (at == text || (!is_word_char(at[-1]) && at[-1] != '.')) ? demo_read_number(&percent, at)
                                                                                   : NULL;
        const char *sign = end ? demo_read_skip_blanks(end) : NULL;
        const char *rest = sign && *sign == '%' ? sign + 1 : sign ? match_whole(sign, "percent") : NULL;
        for (const char *of = rest; of && !found && (of = find_whole(of, "of|on|from|for|off|to"));) {
            bool off = !strncasecmp(of - 3, "off", 3);
            found = demo_read_number(&base, skip_sign(demo_read_skip_blanks(of))) && percent.len && base.len;
            if (found) {
                double share = strtod(percent.data, NULL) / 100;
                ac_buf_printf(expression, off ? "%s * (1 - %.10g)" : "%s * %.10g", base.data, share);
            }
        }
    }
    ac_buf_free(&percent);
    ac_buf_free(&base);
    return found;
}

/* An operator or word for one at `at`: appends it; where it ends, or NULL. */
static const char *read_operator(sum_t *sum, const char *at)
{
    static const struct {
        const char *words, *sign;
    } signs[] = {
        {"+", "+"}, {"-", "-"}, {"\u2212", "-"}, {"**", "^"},     {"*", "*"},
        {"/", "/"}, {"^", "^"}, {"\u00d7", "*"}, {"\u00f7", "/"}, {NULL, NULL},
    };
    static const struct {
        const char *words, *sign;
    } spoken[] = {
        {"plus", "+"},
        {"minus", "-"},
        {"times|x|multiplied by", "*"},
        {"divided by|over", "/"},
        {"to the power of", "^"},
        {NULL, NULL},
    };
    for (int i = 0; signs[i].words; i++) {
        size_t len = strlen(signs[i].words);
        if (!strncmp(at, signs[i].words, len)) {
            ac_buf_printf(&sum->text, " %s ", signs[i].sign);
            sum->n_spaced += *signs[i].sign != '-' && *signs[i].sign != '/';
            sum->n_spaced += at[len] == ' ';
            return at + len;
        }
    }
    for (int i = 0; spoken[i].words; i++) {
        const char *end = match_whole(at, spoken[i].words);
        if (end) {
            ac_buf_printf(&sum->text, " %s ", spoken[i].sign);
            sum->n_spaced++;
            return end;
        }
    }
    return NULL;
}

/* One piece of a sum at `at`; where it ends, or NULL: the sum has ended. */
static const char *read_piece(sum_t *sum, const char *at)
{
    static const char functions[] = "sqrt|abs|round|floor|ceil|sin|cos|tan|ln|log|exp|min|max";
    const char *end = sum->after_number ? NULL : demo_read_number(&sum->text, skip_sign(at));
    if (end) {
        sum->n_numbers++;
        sum->after_number = true;
        if (*end == '%') {
            ac_buf_add(&sum->text, "%", 1);
            end++;
        }
        return end;
    }
    if (*at == '(' && !sum->after_number) {
        sum->depth++;
        ac_buf_add(&sum->text, at, 1);
        return at + 1;
    }
    if (*at == ')' && sum->after_number && sum->depth > 0) {
        sum->depth--;
        ac_buf_add(&sum->text, at, 1);
        return at + 1;
    }
    end = sum->after_number ? NULL : match_whole(at, functions);
    if (end && *end == '(') {
        sum->n_functions++;
        ac_buf_add(&sum->text, at, (size_t)(end - at));
        return end;
    }
    end = sum->after_number || *at == '-' ? read_operator(sum, at) : NULL;
    if (end) {
        sum->n_operators += sum->after_number;
        sum->after_number = false;
    }
    return end;
}

/* Dates and numbers of orders have dashes and slashes too; what is meant as a sum has blanks, or is asked for. */
static bool is_sum(const sum_t *sum, bool asked)
{
    bool whole = sum->after_number && sum->depth == 0 && !sum->text.failed;
    bool enough = (sum->n_numbers > 1 && sum->n_operators > 0) || (sum->n_functions > 0 && sum->n_numbers > 0);
    return whole && enough && (sum->n_spaced > 0 || sum->n_functions > 0 || (asked && sum->n_operators == 1));
}

bool demo_read_arithmetic(ac_buf_t *expression, const char *text)
{
    if (read_share(expression, text)) {
        return true;
    }
    sum_t sum = {.n_numbers = 0};
    bool found = false, asked = demo_find(text, "calculate|compute|how much|what is|what's|whats|sum|=") != NULL;
    ac_buf_init(&sum.text, 1024);
    for (const char *at = text; *at && !found;) {
        bool begins = at == text || !is_word_char(at[-1]);
        const char *end = begins ? at : NULL;
        sum_clear(&sum);
        size_t good = 0; /* how much of it was a whole sum */
        for (const char *next = end; next && *next; next = demo_read_skip_blanks(next)) {
            next = read_piece(&sum, next);
            if (!next) {
                break;
            }
            end = next;
            good = is_sum(&sum, asked) ? sum.text.len : good;
        }
        found = good > 0;
        if (found) {
            ac_buf_add(expression, sum.text.data, good);
        }
        at = end && end > at ? end : at + 1;
    }
    ac_buf_free(&sum.text);
    return found;
}

/* ---- symbols and topics ---- */

bool demo_read_symbol(ac_buf_t *symbol, const char *text)
{
    static const struct {
        const char *name, *symbol;
    } known[] = {
        {"apple", "AAPL"}, {"microsoft", "MSFT"}, {"google|alphabet", "GOOGL"}, {"amazon", "AMZN"},
        {"tesla", "TSLA"}, {"nvidia", "NVDA"},    {"meta|facebook", "META"},    {"netflix", "NFLX"},
        {"sap", "SAP"},    {NULL, NULL},
    };
    for (const char *at = text; *at; at++) {
        size_t len = 0;
        while (apr_isupper(at[len])) {
            len++;
        }
        bool whole = len && !is_word_char(at[len]) && (at == text || !is_word_char(at[-1]));
        bool likely = len > 1 || (at > text && at[-1] == '$');
        if (whole && likely && len <= 5 && !match_whole(at, "USD|EUR|GBP|US|UK|OK|CEO|AI")) {
            return ac_buf_add(symbol, at, len) == APR_SUCCESS;
        }
    }
    for (int i = 0; known[i].name; i++) {
        if (find_whole(text, known[i].name)) {
            return ac_buf_str(symbol, known[i].symbol) == APR_SUCCESS;
        }
    }
    return false;
}

#define EMPTY_WORDS \
    "a|about|an|and|any|are|as|at|be|been|but|by|can|could|did|do|does|find|for|from|get|give|had|has|" \
    "have|hello|help|hey|hi|how|i|i'd|i'm|i've|if|in|into|is|it|its|know|like|look|me|my|need|of|on|or|" \
    "our|please|search|should|so|some|tell|than|that|the|their|them|then|there|this|to|up|us|was|we|what|" \
    "what's|when|where|which|who|why|will|with|would|you|your|want|long|much|many|take|knowledge|base"

bool demo_read_topic(ac_buf_t *topic, const char *text)
{
    size_t before = topic->len;
    for (int n = 0; *text && n < 8;) {
        size_t len = word_len(text);
        if (!len) {
            text++;
            continue;
        }
        if (!match_whole(text, EMPTY_WORDS)) {
            ac_buf_add(topic, " ", topic->len > before);
            ac_buf_add(topic, text, len);
            n++;
        }
        text += len;
    }
    return topic->len > before;
}
