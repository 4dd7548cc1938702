#include "data/tokenizer_bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/bpe.h"
#include "data/tokenizer.h"

#define BOS "<\uff5cbegin\u2581of\u2581sentence\uff5c>"
#define EOS "<\uff5cend\u2581of\u2581sentence\uff5c>"

static void put_byte(FILE *f, int byte) {
    char text[2];
    int n = bpe_write_byte(text, (unsigned char)byte);
    fputs(byte ? ", \"" : "\"", f);
    if (n == 1 && strchr("\"\\", text[0])) fputc('\\', f);
    fwrite(text, 1, (size_t)n, f);
    fprintf(f, "\": %d", byte);
}

static void put_special(FILE *f, const char *text, int id) {
    fprintf(f,
            "    {\"id\": %d, \"content\": \"%s\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
            "\"normalized\": false, \"special\": true}",
            id, text);
}

char *tokenizer_bytes_json(void) {
    static const char byte_level[] =
        "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": false}";
    Tokenizer *bytes = tokenizer_open("bytes", NULL);
    char *text;
    size_t count;
    FILE *f = open_memstream(&text, &count);
    check(f, "out of memory for a tokenizer");
    fputs("{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [\n", f);
    put_special(f, BOS, tokenizer_bos(bytes));
    fputs(",\n", f);
    put_special(f, EOS, tokenizer_eos(bytes));
    fprintf(
        f,
        "\n  ],\n  \"normalizer\": null,\n  \"pre_tokenizer\": %s,\n  \"post_processor\": null,\n  \"decoder\": %s,\n"
        "  \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": null, "
        "\"end_of_word_suffix\": null, \"fuse_unk\": false, \"byte_fallback\": false, \"vocab\": {",
        byte_level, byte_level);
    for (int b = 0; b < 256; b++) put_byte(f, b);
    fputs("}, \"merges\": []}\n}\n", f);
    check(fclose(f) == 0, "out of memory for a tokenizer");
    tokenizer_close(bytes);
    return text;
}

char *tokenizer_bytes_config(void) {
    return must_strdup("{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n  \"add_bos_token\": false,\n"
                       "  \"add_eos_token\": false,\n  \"bos_token\": \"" BOS "\",\n  \"eos_token\": \"" EOS "\",\n"
                       "  \"pad_token\": \"" EOS "\",\n  \"clean_up_tokenization_spaces\": false\n}\n");
}
