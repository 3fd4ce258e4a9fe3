const GREETING: &str = "hello";

fn greet() -> String {
    format!("{GREETING}, {}", words::EVERYBODY)
}

fn main() {
    println!("{}", greet());
}

#[cfg(test)]
mod tests {
    #[test]
    fn greets_everybody() {
        assert!(super::greet().ends_with(", world"));
    }
}
