// The rows of a section as they come: each is told as progress, too.
#pragma once

#include <string>
#include <vector>

#include "tools/demo/stage.hpp"
#include "tools/report/report.hpp"

namespace understudy::tools {

class Rows {
  public:
    // `timeline` outlives the object.
    explicit Rows(Timeline& timeline) : timeline_(timeline) {}

    void add(report::Row row);
    void add_missing(const std::string& what, const std::string& why) { add(report::missing_row(what, why)); }

    [[nodiscard]] std::vector<report::Row> take() { return std::move(rows_); }

  private:
    Timeline& timeline_;
    std::vector<report::Row> rows_;
};

// Of a section's command, where it takes some rows only: " --only a,b", or nothing.
[[nodiscard]] std::string only_words(const std::vector<std::string>& only);

// As a shell takes it: in quotes where it needs them.
[[nodiscard]] std::string shell_word(const std::string& word);

// The rows of one unit and variant that something took turns with, as bars. Not all have to have taken turns with the
// same: each is a series of its own, and a group has bars of those that it has values of.
[[nodiscard]] report::BarPlot bars_of(const std::vector<report::Row>& rows, const std::string& title,
                                      const std::string& unit, const std::string& variant);

}  // namespace understudy::tools
