// Measures llama.cpp as `gemma4edge bench --json` measures us: same prompt lengths, same contexts, same keys on stdout.
// llama_bench BACKENDS MODEL.gguf [--mode default|lazy] [--threads N] [--prefill 128,512] [--contexts 16,1024] [--tokens 64] [--rounds 3]
// BACKENDS is the folder with libggml-cpu-*.so. default: mmap and repacked weights; lazy: rows of the per-layer table read on demand, no mmap.
// Flash attention on, F16 K/V, micro-batches of 512. Medians over the rounds. Build: README.md here.
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ggml-backend.h"
#include "llama.h"

#define MAX_LIST 16

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char * what) {
    fprintf(stderr, "llama_bench: %s\n", what);
    exit(1);
}

static int parse_list(char * text, int * list) {
    int n = 0;
    for (char * part = strtok(text, ","); part && n < MAX_LIST; part = strtok(NULL, ",")) {
        list[n++] = atoi(part);
    }
    return n;
}

static int compare(const void * a, const void * b) {
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

static double median(double * values, int n) {
    qsort(values, n, sizeof *values, compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

// A line of /proc/self/status, in bytes.
static long long status_bytes(const char * key) {
    char line[256];
    long long kib = 0;
    FILE * f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, strlen(key)) == 0) {
            kib = atoll(line + strlen(key) + 1);
        }
    }
    if (f) {
        fclose(f);
    }
    return kib * 1024;
}

// Feeds n tokens at the end of the sequence, in batches of 512; logits for the last one only.
static void feed(struct llama_context * ctx, int position, int n) {
    int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(ctx)));
    static unsigned random = 1;
    for (int done = 0; done < n;) {
        int count = n - done < 512 ? n - done : 512;
        struct llama_batch batch = llama_batch_init(count, 0, 1);
        batch.n_tokens = count;
        for (int i = 0; i < count; i++) {
            random = random * 1664525u + 1013904223u;
            batch.token[i] = (random >> 8) % vocabulary;
            batch.pos[i] = position + done + i;
            batch.n_seq_id[i] = 1;
            batch.seq_id[i][0] = 0;
            batch.logits[i] = done + i == n - 1;
        }
        if (llama_decode(ctx, batch) != 0) {
            fail("llama_decode failed");
        }
        llama_synchronize(ctx);
        llama_batch_free(batch);
        done += count;
    }
}

int main(int argc, char ** argv) {
    if (argc < 3) {
        fail("usage: llama_bench BACKENDS MODEL.gguf [options], see the head of the source");
    }
    bool lazy = false;
    int threads = 2, tokens = 64, rounds = 3;
    int prefill[MAX_LIST] = {128, 512}, contexts[MAX_LIST] = {16, 1024};
    int prefill_count = 2, context_count = 2;
    for (int i = 3; i + 1 < argc; i += 2) {
        char * value = argv[i + 1];
        if (!strcmp(argv[i], "--mode")) lazy = !strcmp(value, "lazy");
        else if (!strcmp(argv[i], "--threads")) threads = atoi(value);
        else if (!strcmp(argv[i], "--tokens")) tokens = atoi(value);
        else if (!strcmp(argv[i], "--rounds")) rounds = atoi(value);
        else if (!strcmp(argv[i], "--prefill")) prefill_count = parse_list(value, prefill);
        else if (!strcmp(argv[i], "--contexts")) context_count = parse_list(value, contexts);
        else fail("unknown option, see the head of the source");
    }
    int longest = 0;
    for (int i = 0; i < prefill_count; i++) longest = prefill[i] > longest ? prefill[i] : longest;
    for (int i = 0; i < context_count; i++) {
        int end = contexts[i] + rounds * tokens;
        longest = end > longest ? end : longest;
    }

    ggml_backend_load_all_from_path(argv[1]);
    double start = now();
    struct llama_model_params model_params = llama_model_default_params();
    if (lazy) {
        model_params.load_mode = LLAMA_LOAD_MODE_NONE;
        model_params.lazy_mode = LLAMA_LAZY_MODE_ON;
    }
    struct llama_model * model = llama_model_load_from_file(argv[2], model_params);
    if (!model) {
        fail("cannot load the model");
    }
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = longest;
    params.n_batch = params.n_ubatch = 512;
    params.n_threads = params.n_threads_batch = threads;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    struct llama_context * ctx = llama_init_from_model(model, params);
    if (!ctx) {
        fail("cannot make a context");
    }
    double load_ms = (now() - start) * 1000;
    llama_memory_t memory = llama_get_memory(ctx);
    double * rates = malloc(rounds * sizeof *rates);

    feed(ctx, 0, 16); // touches the weights once
    printf("{\"mode\":\"%s\",\"threads\":%d,\"load_ms\":%.0f,\"prefill\":[", lazy ? "lazy" : "default", threads, load_ms);
    for (int i = 0; i < prefill_count; i++) {
        for (int round = 0; round < rounds; round++) {
            llama_memory_clear(memory, true);
            start = now();
            feed(ctx, 0, prefill[i]);
            rates[round] = prefill[i] / (now() - start);
        }
        printf("%s{\"tokens\":%d,\"tokens_per_second\":%.2f}", i ? "," : "", prefill[i], median(rates, rounds));
    }
    printf("],\"decode\":[");
    for (int i = 0; i < context_count; i++) {
        llama_memory_clear(memory, true);
        feed(ctx, 0, contexts[i]);
        for (int round = 0; round < rounds; round++) {
            start = now();
            for (int token = 0; token < tokens; token++) {
                feed(ctx, contexts[i] + round * tokens + token, 1);
            }
            rates[round] = tokens / (now() - start);
        }
        printf("%s{\"context\":%d,\"tokens_per_second\":%.2f}", i ? "," : "", contexts[i], median(rates, rounds));
    }
    printf("],\"peak_rss_bytes\":%lld,\"anonymous_bytes\":%lld,\"file_backed_bytes\":%lld}\n",
           status_bytes("VmHWM"), status_bytes("RssAnon"), status_bytes("RssFile"));
    return 0;
}
