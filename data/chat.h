/* chat.h - conversations as the family writes them (SEMANTICS section 6).
 *
 * A template is recognised by the text of tokenizer_config.json's chat_template among those known here; nothing is
 * interpreted. What people wrote is plain text: it never becomes a control token. */
#pragma once
#include "data/tokenizer.h"

typedef struct ChatTemplate ChatTemplate;
typedef struct {
    const char *role, *content; /* system, user or assistant */
} ChatMessage;

/* The template of V2-Chat, V2-Lite-Chat and Coder-V2-Instruct, as they publish it. */
extern const char chat_template_v2[];

/* tokenizer: as config key `tokenizer`; forced: value of key chat_template ("" = recognise it). NULL + a message that
 * says which key sets it. */
const ChatTemplate *chat_template(const char *tokenizer, const char *forced, Error *);
const char *chat_template_name(const ChatTemplate *);
/* Whether an answer begins with a space, which belongs to its first token and is no part of what is said. */
bool chat_answer_begins_with_space(const ChatTemplate *);

/* The conversation as ids (malloc'd); answer: it ends where the assistant begins to speak. trained (NULL or malloc'd
 * in *trained) marks the ids of the assistant's words, with the space before the first of them, and the eos after them.
 * False + a message that names the message. */
bool chat_encode(const ChatTemplate *, const Tokenizer *, const ChatMessage *, int64_t count, bool answer,
                 int32_t **ids, int64_t *n, bool **trained, Error *);
