/* tokenizer_bytes.h - the byte tokenizer as files that Hugging Face reads: byte-level BPE without a merge. */
#pragma once

char *tokenizer_bytes_json(void);   /* tokenizer.json, malloc'd */
char *tokenizer_bytes_config(void); /* tokenizer_config.json, malloc'd */
