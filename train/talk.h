/* talk.h - conversations with a model: what `chat` shares between the terminal and files. */
#pragma once
#include <stdio.h>

#include "data/chat.h"
#include "train/commands.h"
#include "train/generator.h"
#include "train/session.h"

/* Messages so far; each owns its content. */
typedef struct {
    ChatMessage *message;
    int64_t count, room;
} Talk;

void talk_add(Talk *, const char *role, const char *content, int64_t bytes);
void talk_drop(Talk *, int64_t count); /* the last ones, until count are left */
void talk_free(Talk *);

typedef struct {
    const CommandLine *line;
    Config config;
    ModelPath model;
    Session session;
    Tokenizer *tokenizer;
    const ChatTemplate *template;
    int64_t context; /* tokens of a conversation, at most */
    int32_t *heard;  /* (context) on rank 0: the ids that the cache holds, not read again by a turn that begins so */
    int64_t n_heard;
    FILE *notes; /* where what is no answer is said */
} Chat;

/* Ids of a conversation up to where the assistant begins to speak, as a prompt that owns them. */
bool chat_prompt(const Chat *, const Talk *, Prompt *, Error *);

/* The conversations of a file, answers as lines of JSON; exit code. */
int chat_file(Chat *, Error *);
