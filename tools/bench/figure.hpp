// What a benchmark has to say: figures, each with what was wanted of it.
#pragma once

#include <string>
#include <vector>

namespace understudy::tools {

struct Figure {
    std::string name;
    double value = 0;
    std::string unit;
    std::string target;  // "<= 150"; empty: none
    bool met = false;
    std::string detail;
    bool measured = true;  // false: `detail` says what is missing, or what went wrong
};

// To standard output: a table, or one JSON object {"figures":[...]}.
void print_figures(const std::vector<Figure>& figures, bool json);

}  // namespace understudy::tools
