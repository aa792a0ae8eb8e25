/* A library whose thread-local variables lie in the static block, of which little is left over for libraries that come
   late. */
static __thread char space[200] __attribute__((tls_model("initial-exec")));

char *use_library(void) {
    for (unsigned i = 0; i < sizeof space; i++) {
        space[i]++;
    }
    return space;
}
