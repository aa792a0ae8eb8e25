/* The second module of foreign.c. */
#include "callers.h"

TEN_CALLERS(library_)
