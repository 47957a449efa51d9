// What tests with real guests have in common.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "hypervisor/engine/kvm/probe.hpp"

namespace understudy::tools::testing {

const std::filesystem::path kExecutable = UNDERSTUDY_BINARY_DIR "/understudy";
// The machine that tests run on may be busy with other tests; what a short time gives is measured elsewhere.
constexpr const char* kSuspicion = "1000";
constexpr std::chrono::seconds kPatience(60);

inline std::string contents(const std::filesystem::path& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

class OnKvm : public ::testing::Test {
  protected:
    void SetUp() override {
        if (!engine::probe_kvm().usable()) {
            GTEST_SKIP() << "needs a usable /dev/kvm (understudy doctor says what is missing)";
        }
    }
};

}  // namespace understudy::tools::testing
