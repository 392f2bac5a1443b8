// Checks of the C++ tests: a failed one prints its place and ends the program with status 1.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "les/error.h"

#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            std::fprintf(stderr, "%s:%d: %s is false\n", __FILE__, __LINE__, #condition); \
            std::exit(1);                                                                 \
        }                                                                                 \
    } while (false)

/// Fails unless |a - b| <= tolerance * scale.
inline void check_close(double a, double b, double tolerance, double scale, const std::string& what) {
    if (std::abs(a - b) <= tolerance * scale) return;
    std::fprintf(stderr, "%s: got %.12g, expected %.12g (tolerance %.1g of %.3g)\n", what.c_str(), a, b, tolerance,
                 scale);
    std::exit(1);
}

/// Fails unless `action` throws les::Error with `part` in a single line.
template <class Action>
void check_error(const Action& action, const std::string& part) {
    try {
        action();
    } catch (const les::Error& error) {
        const std::string text = error.what();
        if (text.find(part) != std::string::npos && text.find('\n') == std::string::npos) return;
        std::fprintf(stderr, "expected an error with '%s', got '%s'\n", part.c_str(), text.c_str());
        std::exit(1);
    }
    std::fprintf(stderr, "expected an error with '%s', got none\n", part.c_str());
    std::exit(1);
}
