/* Reads the files of numbers: one entry on each line and each name exactly once; lines that begin with `#` are comments. */

#pragma once

struct data_file {
    const char *kind;                    /* what an entry is, for messages: "an operation" */
    int count;                           /* how many names there are */
    const char *(*name)(int index);      /* the name of one */
    int (*read_entry)(const char *line); /* stores a line's entry and returns its index; -1 if it is none */
};

/* Returns 0 if the file has every name once, else 1 after a message on standard error. */
int read_data_file(const char *path, const struct data_file *data);
