/* Reads the files of numbers. */

#include "data_file.h"

#include <stdio.h>
#include <string.h>

int read_data_file(const char *path, const struct data_file *data) {
    char line[512], seen[data->count];
    memset(seen, 0, sizeof seen);
    FILE *file = fopen(path, "r");
    if (!file) {
        perror(path);
        return 1;
    }
    int wrong = 0;
    for (int number = 1; !wrong && fgets(line, sizeof line, file); number++) {
        if (line[0] == '#' || line[0] == '\n')
            continue;
        int index = data->read_entry(line);
        wrong = index < 0 || seen[index]++;
        if (wrong)
            fprintf(stderr, "%s:%d: not %s, or a second time: %s", path, number, data->kind, line);
    }
    fclose(file);
    for (int i = 0; !wrong && i < data->count; i++)
        if (!seen[i]) {
            fprintf(stderr, "%s: %s is missing\n", path, data->name(i));
            wrong = 1;
        }
    return wrong;
}
