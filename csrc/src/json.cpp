// Recursive-descent parser of the model record; see json.h.
#include "json.h"

#include <cstdlib>
#include <utility>

#include "les/error.h"

namespace les::json {

namespace {

class Parser {
public:
    explicit Parser(const std::string& text) : text_(text) {}

    Value document() {
        Value value = element(0);
        skip_space();
        if (position_ != text_.size()) fail("end of text");
        return value;
    }

private:
    const std::string& text_;
    std::size_t position_ = 0;

    [[noreturn]] void fail(const std::string& expected) const {
        throw Error("model record is not valid JSON: expected " + expected + " at byte " + std::to_string(position_));
    }

    void skip_space() {
        while (position_ < text_.size() && std::string(" \t\r\n").find(text_[position_]) != std::string::npos)
            ++position_;
    }

    char peek() {
        skip_space();
        return position_ < text_.size() ? text_[position_] : '\0';
    }

    void expect(char c) {
        if (peek() != c) fail(std::string("'") + c + "'");
        ++position_;
    }

    bool take(const std::string& word) {
        if (text_.compare(position_, word.size(), word) != 0) return false;
        position_ += word.size();
        return true;
    }

    Value element(int depth) {
        if (depth > 64) fail("at most 64 nested values");
        Value value;
        const char c = peek();
        if (c == '{') {
            value.kind = Value::Kind::object;
            ++position_;
            if (peek() == '}') return ++position_, value;
            do {
                if (peek() != '"') fail("a key");
                std::string key = string();
                expect(':');
                value.object[std::move(key)] = element(depth + 1);
            } while (peek() == ',' && ++position_);
            expect('}');
        } else if (c == '[') {
            value.kind = Value::Kind::array;
            ++position_;
            if (peek() == ']') return ++position_, value;
            do {
                value.array.push_back(element(depth + 1));
            } while (peek() == ',' && ++position_);
            expect(']');
        } else if (c == '"') {
            value.kind = Value::Kind::string;
            value.string = string();
        } else if (take("true") || take("false")) {
            value.kind = Value::Kind::boolean;
            value.boolean = c == 't';
        } else if (!take("null")) {
            value.kind = Value::Kind::number;
            char* end = nullptr;
            value.number = std::strtod(text_.c_str() + position_, &end);
            if (end == text_.c_str() + position_) fail("a value");
            position_ = static_cast<std::size_t>(end - text_.c_str());
        }
        return value;
    }

    std::string string() {
        std::string result;
        for (++position_; position_ < text_.size() && text_[position_] != '"'; ++position_) {
            if (text_[position_] != '\\') {
                result += text_[position_];
                continue;
            }
            static const std::string codes = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
            const char code = position_ + 1 < text_.size() ? text_[++position_] : '\0';
            const std::size_t which = codes.find(code);
            if (which != std::string::npos) {
                result += meanings[which];
            } else if (code == 'u' && position_ + 4 < text_.size()) {
                append_utf8(result, std::strtoul(text_.substr(position_ + 1, 4).c_str(), nullptr, 16));
                position_ += 4;
            } else {
                fail("an escape sequence");
            }
        }
        if (position_ >= text_.size()) fail("'\"'");
        ++position_;
        return result;
    }

    static void append_utf8(std::string& out, unsigned long code) {
        if (code < 0x80) {
            out += static_cast<char>(code);
        } else if (code < 0x800) {
            out += static_cast<char>(0xC0 | (code >> 6));
            out += static_cast<char>(0x80 | (code & 0x3F));
        } else {
            out += static_cast<char>(0xE0 | (code >> 12));
            out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
            out += static_cast<char>(0x80 | (code & 0x3F));
        }
    }
};

const char* name_of(Value::Kind kind) {
    static const char* names[] = {"null", "a boolean", "a number", "a string", "a list", "an object"};
    return names[static_cast<int>(kind)];
}

}  // namespace

const Value& Value::at(const std::string& key) const {
    const auto found = object.find(key);
    if (found == object.end()) throw Error("model record lacks `" + key + "`; export the model again with les-export");
    return found->second;
}

const Value& Value::at(const std::string& key, Kind expected) const {
    const Value& value = at(key);
    if (value.kind != expected) {
        throw Error("model record: `" + key + "` must be " + name_of(expected) + ", got " + name_of(value.kind));
    }
    return value;
}

Value parse(const std::string& text) { return Parser(text).document(); }

}  // namespace les::json
