// The parser of the model record.
#include "check.h"
#include "json.h"

int main() {
    using Kind = les::json::Value::Kind;
    const auto value =
        les::json::parse(R"( {"a": [1, -2.5e3, true, null], "b": {"c": "x\"\u00e5\n"}, "empty": [], "none": {}} )");
    CHECK(value.at("a").array.size() == 4);
    CHECK(value.at("a").array[1].number == -2500.0);
    CHECK(value.at("a").array[2].boolean);
    CHECK(value.at("a").array[3].is_null());
    CHECK(value.at("b").at("c", Kind::string).string == "x\"\xc3\xa5\n");
    CHECK(value.at("empty").array.empty() && value.at("none").object.empty());
    check_error([&] { value.at("missing"); }, "lacks `missing`");
    check_error([&] { value.at("a", Kind::number); }, "`a` must be a number, got a list");
    for (const char* bad : {"", "{", "[1,]", "{\"a\" 1}", "\"open", "[1] 2", "nul"}) {
        check_error([&] { les::json::parse(bad); }, "not valid JSON");
    }
    check_error([] { les::json::parse(std::string(1000, '[')); }, "at most 64 nested values");
    std::puts("json is read");
}
