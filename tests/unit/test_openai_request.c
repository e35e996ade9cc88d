/* SPDX-License-Identifier: Apache-2.0 */
/* Chat completions: the bytes of requests, and the errors made of error answers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>

#include "wire/wire.h"

/* ---- error answers ---- */

static void expect_error(int status, const char *body, ac_kind_e kind, bool retry, const char *part)
{
    ac_err_t err = {0};
    bool may_retry = !retry;
    ac_openai_error(status, body, strlen(body), &may_retry, &err);
    if (!strstr(err.detail, part)) {
        fail_msg("HTTP %d %s: \"%s\" has no \"%s\"", status, body, err.detail, part);
    }
    assert_int_equal(err.kind, kind);
    assert_int_equal(may_retry, retry);
    assert_null(strstr(err.detail, "secret"));
}

static void test_errors_refused(void **state)
{
    (void)state;
    expect_error(401,
                 "{\"error\":{\"message\":\"Incorrect API key provided: sk-secret\",\"type\":\"invalid_request_error\","
                 "\"code\":\"invalid_api_key\"}}",
                 AC_MODEL_REFUSED, false, "HTTP 401, invalid_api_key");
    expect_error(401, "{\"statusCode\":401,\"message\":\"secret\"}", AC_MODEL_REFUSED, false, "AgentChatCredential");
    expect_error(401, "{\"error\":{\"code\":\"PermissionDenied\"}}", AC_MODEL_REFUSED, false, "right role");
    expect_error(403, "", AC_MODEL_REFUSED, false, "network rules");
    expect_error(404, "{\"error\":{\"code\":\"DeploymentNotFound\"}}", AC_MODEL_REFUSED, false, "deployment=");
    expect_error(404, "{\"error\":{\"code\":\"404\",\"message\":\"Resource not found\"}}", AC_MODEL_REFUSED, false,
                 "api-version=");
    expect_error(404, "{\"error\":{\"message\":\"model 'secret' not found\"}}", AC_MODEL_REFUSED, false, "model=");
    expect_error(404, "<html>secret</html>", AC_MODEL_REFUSED, false, "(HTTP 404)");
    expect_error(402, "{\"error\":{\"message\":\"Insufficient Balance\"}}", AC_MODEL_REFUSED, false, "quota");
    expect_error(429,
                 "{\"error\":{\"message\":\"You exceeded your current quota\",\"type\":\"insufficient_quota\","
                 "\"code\":\"insufficient_quota\"}}",
                 AC_MODEL_REFUSED, false, "quota");
    expect_error(302, "", AC_MODEL_REFUSED, false, "redirect");
}

static void test_errors_of_the_request(void **state)
{
    (void)state;
    expect_error(400,
                 "{\"error\":{\"message\":\"secret\",\"type\":null,\"param\":\"prompt\",\"code\":\"content_filter\","
                 "\"status\":400,"
                 "\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\","
                 "\"content_filter_result\":{\"hate\":{\"filtered\":false},"
                 "\"violence\":{\"filtered\":true,\"severity\":\"high\"},\"jailbreak\":{\"detected\":true,"
                 "\"filtered\":true}}}}}",
                 AC_CONTENT_FILTERED, false, "for violence and jailbreak");
    expect_error(400, "{\"error\":{\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\"}}}", AC_CONTENT_FILTERED,
                 false, "safety");
    expect_error(400, "{\"error\":{\"message\":\"x\",\"code\":\"context_length_exceeded\",\"param\":\"messages\"}}",
                 AC_CONTEXT_LENGTH, false, "at messages");
    expect_error(
        400,
        "{\"object\":\"error\",\"message\":\"This model's maximum context length is 4096 tokens. However, secret\","
        "\"type\":\"BadRequestError\",\"param\":null,\"code\":400}",
        AC_CONTEXT_LENGTH, false, "longer than");
    expect_error(400,
                 "{\"error\":{\"code\":400,\"message\":\"the request exceeds the available context size\","
                 "\"type\":\"exceed_context_size_error\"}}",
                 AC_CONTEXT_LENGTH, false, "longer than");
    expect_error(
        400,
        "{\"error\":{\"message\":\"secret words\",\"type\":\"invalid_request_error\",\"param\":\"tools[0].function\","
        "\"code\":\"unsupported_parameter\"}}",
        AC_MODEL_ERROR, false, "unsupported_parameter, at tools[0].function");
    expect_error(400, "{\"error\":{\"code\":\"secret words of a user\",\"param\":\"more secret words\"}}",
                 AC_MODEL_ERROR, false, "(HTTP 400)");
    expect_error(422, "{\"detail\":[{\"loc\":[\"body\"],\"msg\":\"secret\",\"input\":\"secret\"}]}", AC_MODEL_ERROR,
                 false, "HTTP 422");
    expect_error(413, "", AC_MODEL_ERROR, false, "HTTP 413");
}

static void test_errors_that_pass(void **state)
{
    (void)state;
    expect_error(429, "{\"error\":{\"code\":\"429\",\"message\":\"Requests have exceeded call rate limit\"}}",
                 AC_MODEL_THROTTLED, true, "too many requests");
    expect_error(429, "", AC_MODEL_THROTTLED, true, "HTTP 429");
    expect_error(
        429,
        "{\"error\":{\"message\":\"Request too large for gpt-x on tokens per min: Limit 30000, Requested 40000.\","
        "\"type\":\"tokens\",\"code\":\"rate_limit_exceeded\"}}",
        AC_MODEL_THROTTLED, false, "fewer tokens");
    expect_error(500, "{\"error\":{\"message\":\"secret\",\"type\":\"server_error\"}}", AC_MODEL_ERROR, true,
                 "HTTP 500, server_error");
    expect_error(502, "<html>", AC_MODEL_ERROR, true, "HTTP 502");
    expect_error(503, "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}",
                 AC_MODEL_ERROR, true, "unavailable_error");
    expect_error(408, "", AC_MODEL_TIMEOUT, true, "HTTP 408");
    expect_error(409, "", AC_MODEL_ERROR, true, "HTTP 409");
    expect_error(0, "{\"error\":\"\"}", AC_MODEL_ERROR, true, "failed");
}

static void test_error_status(void **state)
{
    ac_err_t err = {0};
    (void)state;
    ac_openai_error(503, "", 0, NULL, &err);
    assert_int_equal(err.http_status, 503);
    ac_openai_error(401, "", 0, NULL, &err);
    assert_int_equal(err.kind, AC_MODEL_ERROR);
    assert_int_equal(err.http_status, 503);
}

/* ---- requests ---- */

static void expect_request(const ac_model_ask_t *ask, const char *model, const char *params, const char *expected)
{
    ac_buf_t body;
    json_t *extra = params ? json_loads(params, 0, NULL) : NULL;
    ac_buf_init(&body, AC_MAX_REQUEST);
    assert_int_equal(ac_openai_request(&body, ask, model, extra, NULL), APR_SUCCESS);
    json_t *sent = json_loadb(body.data, body.len, JSON_REJECT_DUPLICATES, NULL),
           *wanted = json_loads(expected, 0, NULL);
    assert_non_null(sent);
    assert_non_null(wanted);
    if (!json_equal(sent, wanted)) {
        fail_msg("%s is not %s", body.data, expected);
    }
    json_decref(sent);
    json_decref(wanted);
    json_decref(extra);
    ac_buf_free(&body);
}

#define MESSAGES "\"messages\":[{\"role\":\"user\",\"content\":\"h\u00e9\\\"\\n\"}]"
#define STREAM "\"stream\":true,\"stream_options\":{\"include_usage\":true}"
#define TOOLS "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]"

static void test_request(void **state)
{
    json_t *document = json_loads("{" MESSAGES "," TOOLS "}", 0, NULL);
    ac_model_ask_t ask = {.messages = json_object_get(document, "messages"), .temperature = NAN};
    (void)state;
    expect_request(&ask, "m", NULL, "{\"model\":\"m\"," MESSAGES "," STREAM "}");
    expect_request(&ask, NULL, NULL, "{" MESSAGES "," STREAM "}");
    expect_request(&ask, "m", "{\"tool_choice\":\"required\",\"parallel_tool_calls\":false,\"seed\":1}",
                   "{\"model\":\"m\"," MESSAGES "," STREAM ",\"seed\":1}");
    expect_request(&ask, "m", "{\"stream_options\":null,\"messages\":[],\"tools\":[1],\"top_p\":null}",
                   "{\"model\":\"m\"," MESSAGES ",\"stream\":true}");
    expect_request(&ask, "m", "{\"stream\":false,\"model\":\"n\"}", "{\"model\":\"n\"," MESSAGES ",\"stream\":false}");
    ask.temperature = 0.7;
    ask.tools = json_object_get(document, "tools");
    expect_request(&ask, "m", "{\"tool_choice\":\"required\",\"parallel_tool_calls\":false}",
                   "{\"model\":\"m\"," MESSAGES "," TOOLS "," STREAM
                   ",\"temperature\":0.7,\"tool_choice\":\"required\",\"parallel_tool_calls\":false}");
    expect_request(&ask, "m", "{\"temperature\":null}", "{\"model\":\"m\"," MESSAGES "," TOOLS "," STREAM "}");
    ask.no_calls = true;
    expect_request(&ask, "m", "{\"tool_choice\":\"required\",\"temperature\":1.0}",
                   "{\"model\":\"m\"," MESSAGES "," TOOLS "," STREAM ",\"temperature\":1.0,\"tool_choice\":\"none\"}");
    json_decref(document);
}

static void test_request_limit(void **state)
{
    json_t *messages = json_array();
    ac_model_ask_t ask = {.messages = messages, .temperature = NAN, .max_tokens = 300};
#define LIMITED(member) "{\"model\":\"m\",\"messages\":[]," STREAM member "}"
    (void)state;
    expect_request(&ask, "m", NULL, LIMITED(",\"max_completion_tokens\":300"));
    expect_request(&ask, "m", "{\"max_tokens\":1000}", LIMITED(",\"max_tokens\":300"));
    expect_request(&ask, "m", "{\"max_tokens\":100}", LIMITED(",\"max_tokens\":100"));
    expect_request(&ask, "m", "{\"max_completion_tokens\":100}", LIMITED(",\"max_completion_tokens\":100"));
    expect_request(&ask, "m", "{\"max_completion_tokens\":null}", LIMITED(""));
    expect_request(&ask, "m", "{\"max_completion_tokens\":null,\"max_tokens\":500}", LIMITED(",\"max_tokens\":300"));
    ask.max_tokens = 0;
    expect_request(&ask, "m", "{\"max_tokens\":100}", LIMITED(",\"max_tokens\":100"));
    expect_request(&ask, "m", "{\"max_tokens\":null}", LIMITED(""));
    json_decref(messages);
}

/* The bytes of an image take the place of its reference, each length with its padding; a URL is sent as it is. */
static void test_images_of_a_request(void **state)
{
    json_t *document = json_loads("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
                                  "{\"type\":\"image_url\",\"image_url\":{\"url\":\"file:file_1\",\"detail\":\"low\"}},"
                                  "{\"type\":\"image_url\",\"image_url\":{\"url\":\"file:file_2\"}}]},"
                                  "{\"role\":\"user\",\"content\":\"file:file_1\"},{}]}",
                                  0, NULL);
    ac_model_image_t images[] = {
        {.id = "file_1", .type = "image/png", .bytes = "\x89PNG", .len = 4},
        {.id = "file_2", .type = "image/jpeg", .url = "https://x.example/a?sig=\"b"},
    };
    ac_model_ask_t ask = {.messages = json_object_get(document, "messages"),
                          .temperature = NAN,
                          .images = images,
                          .n_images = 2};
    (void)state;
    expect_request(&ask, NULL, NULL,
                   "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
                   "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,iVBORw==\","
                   "\"detail\":\"low\"}},"
                   "{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://x.example/a?sig=\\\"b\"}}]},"
                   "{\"role\":\"user\",\"content\":\"file:file_1\"},{}]," STREAM "}");
    json_decref(document);
}

/* Base64 is written in pieces: their borders do not show, and the body needs no more than its size. */
static void test_a_large_image_of_a_request(void **state)
{
    enum { LEN = 100 * 1000 + 1 };
    unsigned char *bytes = ac_alloc(LEN), *back = ac_alloc(LEN + 8);
    json_t *messages =
        json_loads("[{\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"file:f\"}}]}]", 0, NULL);
    ac_model_image_t image = {.id = "f", .type = "image/png", .bytes = (char *)bytes, .len = LEN};
    ac_model_ask_t ask = {.messages = messages, .temperature = NAN, .images = &image, .n_images = 1};
    ac_buf_t body;
    (void)state;
    for (int i = 0; i < LEN; i++) {
        bytes[i] = (unsigned char)(i * 7 + i / 251);
    }
    ac_buf_init(&body, AC_MAX_REQUEST);
    assert_int_equal(ac_openai_request(&body, &ask, NULL, NULL, NULL), APR_SUCCESS);
    const char *at = strstr(body.data, ";base64,") + 8;
    int len = (LEN + 2) / 3 * 4;
    assert_int_equal(at[len], '"');
    assert_int_equal(EVP_DecodeBlock(back, (const unsigned char *)at, len), (LEN + 2) / 3 * 3);
    assert_memory_equal(bytes, back, LEN);
    assert_true(body.size < (size_t)len + 128 * 1024);
    ac_buf_free(&body);
    ac_buf_init(&body, 50 * 1000);
    assert_int_not_equal(ac_openai_request(&body, &ask, NULL, NULL, NULL), APR_SUCCESS);
    ac_buf_free(&body);
    json_decref(messages);
    free(bytes);
    free(back);
}

static void test_request_too_large(void **state)
{
    json_t *messages = json_pack("[{s:s}]", "content", "0123456789012345678901234567890123456789");
    ac_model_ask_t ask = {.messages = messages, .temperature = NAN};
    ac_buf_t body;
    ac_err_t err = {0};
    (void)state;
    ac_buf_init(&body, 60);
    assert_int_not_equal(ac_openai_request(&body, &ask, "m", NULL, &err), APR_SUCCESS);
    assert_int_equal(err.kind, AC_CONTEXT_LENGTH);
    ac_buf_free(&body);
    json_decref(messages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_refused),
        cmocka_unit_test(test_errors_of_the_request),
        cmocka_unit_test(test_errors_that_pass),
        cmocka_unit_test(test_error_status),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_request_limit),
        cmocka_unit_test(test_request_too_large),
        cmocka_unit_test(test_images_of_a_request),
        cmocka_unit_test(test_a_large_image_of_a_request),
    };
    return cmocka_run_group_tests_name("openai_request", tests, NULL, NULL);
}
